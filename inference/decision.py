"""From fused probability and findings to what is said of the study: decision, verdict, most dangerous."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from inference.fusion import FusedScore
from inference.study_result import Decision, Finding, Verdict
from models.manifest import BundleManifest


@dataclass(frozen=True)
class StudyDecision:
    """The study-level answer; `warnings` are sentences about how it came to be."""

    probability: float
    operating_point: float
    decision: Decision
    verdict: Verdict
    most_dangerous: str | None
    warnings: tuple[str, ...]


def decide(
    manifest: BundleManifest,
    fused: FusedScore | None,
    found: Sequence[Finding],
    columns: Mapping[str, float],
) -> StudyDecision:
    """What the bundle's rules make of the scores.

    Parameters
    ----------
    fused
        The fusion's answer; None in a bundle without a fusion model, which then has a `[fallback]`.
    found
        The bundle's findings.
    columns
        Every column that the members gave.
    """
    rule = manifest.fusion or manifest.fallback
    if rule is None:  # the manifest's reader does not let this through
        raise ValueError("neither [fusion] nor [fallback] is there")
    highest = max((finding.probability for finding in found), default=0.0)
    probability = fused.probability if fused is not None else highest
    decision: Decision = 1 if probability >= rule.operating_point else 0
    dangerous, warning = _most_dangerous(found, decision)
    return StudyDecision(
        probability=probability,
        operating_point=rule.operating_point,
        decision=decision,
        verdict="pathological" if decision else "normal",
        most_dangerous=dangerous,
        warnings=() if warning is None else (warning,),
    )


def _most_dangerous(found: Sequence[Finding], decision: int) -> tuple[str | None, str | None]:
    """The finding to hear of first, and a warning where none reaches its own operating point.

    Among findings that are present the highest severity, then probability; None where `decision` is 0.
    """
    if decision == 0 or not found:
        return None, None
    present = [finding for finding in found if finding.present]
    if present:
        return max(present, key=lambda finding: (finding.severity, finding.probability)).name, None
    nearest = max(found, key=lambda finding: finding.probability / finding.operating_point)
    return nearest.name, (
        "The study counts as pathological, and no finding reaches its own operating point:"
        f" {nearest.name} came nearest."
    )
