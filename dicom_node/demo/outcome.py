"""What became of one study of the demonstration, and `summary.json`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference.errors import RefusalCode

LAST_IMAGE_TO_SR = "last_image_to_sr"


@dataclass(frozen=True)
class Outcome:
    """One study, from the scanner's last image to what the PACS holds.

    Attributes
    ----------
    kind, truth
        What was sent; `truth` is None where nobody knows.
    state, refusal, remedy
        The node's word on it ("reported", "refused" with its code ...).
    probability, decision, findings
        The answer, where there is one; findings by name.
    present
        Names of the findings at or above their operating points.
    seconds
        Of every stage; `last_image_to_sr` is the wait from the last image to the SR in the PACS, without the
        time for which the archive waits for more images.
    sr, key_images
        Files as the PACS received them.
    originals, originals_sent
        How many images the PACS holds, and how many the scanner sent.
    problem
        Why the demonstration failed here, None where it did not.
    """

    study_uid: str
    kind: str
    truth: tuple[str, ...] | None
    state: str
    refusal: str | None
    probability: float | None
    decision: int | None
    findings: dict[str, float]
    present: tuple[str, ...]
    seconds: dict[str, float]
    sr: Path | None
    key_images: tuple[Path, ...]
    originals: int
    originals_sent: int
    problem: str | None

    @property
    def as_known(self) -> bool | None:
        """Whether the answer agrees with the truth; None where nobody knows, or where there is no answer."""
        if self.truth is None or self.problem is not None:
            return None
        if self.kind != "chest":
            return self.state == "refused"
        return self.state == "reported" and self.decision == (1 if self.truth else 0)

    def to_json(self) -> dict[str, Any]:
        """The study's entry in `summary.json`."""
        return {
            "study_uid": self.study_uid,
            "kind": self.kind,
            "truth": list(self.truth or ()),
            "state": self.state,
            "refusal": self.refusal,
            "probability": self.probability,
            "decision": self.decision,
            "findings": [{"name": name, "probability": value} for name, value in self.findings.items()],
            "seconds": {stage: round(value, 3) for stage, value in self.seconds.items()},
            "sr": str(self.sr) if self.sr is not None else None,
            "key_images": [str(path) for path in self.key_images],
        }


def kind_of_unknown(refusal: str | None, *, quality_control: bool) -> str:
    """What a study from disk counts as: a chest, unless it was refused for want of lungs."""
    if refusal != RefusalCode.NO_LUNGS.value:
        return "chest"
    return "quality_phantom" if quality_control else "head"


def write_summary(file: Path, outcomes: Sequence[Outcome]) -> None:
    """Write `summary.json`."""
    summary = {"studies": [outcome.to_json() for outcome in outcomes]}
    file.write_text(json.dumps(summary, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
