"""An analyser that answers at once, the same about every study, for tests of the way that a study takes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from pydicom import dcmread

from dicom_node.analysis import Progress
from inference.series import SeriesChoice
from inference.study_result import (
    Algorithm,
    BundleIdentity,
    Finding,
    Runtime,
    SliceReference,
    StudyResult,
)


class StandInAnalyser:
    """Records its calls; `gate` holds an analysis until it is set, `faults` are raised one for each call.

    `saliency`, if there is any, is what it lets the node keep beside the result.
    """

    def __init__(self, *, digest: str = "ab" * 32) -> None:
        self.identity = BundleIdentity("stand-in", "1.0.0", digest, True, "Apache-2.0", "Tests.")
        self.runtime = Runtime("0.1.0", "2.13.0", "cpu", "float32")
        self.calls: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self.faults: list[Exception] = []
        self.saliency = b""

    def analyse(
        self,
        paths: Sequence[Path],
        choice: SeriesChoice,
        *,
        key: str = "",
        progress: Progress | None = None,
        keep_saliency: Callable[[bytes], None] | None = None,
    ) -> StudyResult:
        self.calls.append(key)
        self.gate.wait()
        if self.faults:
            raise self.faults.pop(0)
        if keep_saliency is not None and self.saliency:
            keep_saliency(self.saliency)
        found = [dcmread(path, stop_before_pixels=True).SOPInstanceUID for path in paths]
        assert tuple(found) == choice.sop_instance_uids
        return self._result(key, choice)

    def analyse_nifti(self, path: Path, *, name: str, progress: Progress | None = None) -> StudyResult:
        self.calls.append("")
        choice = SeriesChoice(f"nifti_{name}", f"nifti_{name}_series", (), ())
        return self._result("", choice)

    def _result(self, key: str, choice: SeriesChoice) -> StudyResult:
        middle = len(choice.sop_instance_uids) // 2
        uid = choice.sop_instance_uids[middle] if choice.sop_instance_uids else ""
        best = SliceReference(middle, uid, None, 20.0, 30.0)
        finding = Finding("Lung nodule", 0.9, 0.5, True, 3, {"stand-in": 0.9}, "left", best)
        return StudyResult(
            key=key,
            study_uid=choice.study_uid,
            series_uid=choice.series_uid,
            probability=0.9,
            operating_point=0.5,
            decision=1,
            most_dangerous="Lung nodule",
            findings=(finding,),
            measurements=(),
            contributions=(),
            member_scores={"stand-in": {"Lung nodule": 0.9}},
            key_slices=(best,),
            image_sop_instance_uids=choice.sop_instance_uids,
            series=choice.decisions,
            warnings=choice.warnings,
            bundle=self.identity,
            algorithms=(Algorithm("node", "0.1.0"),),
            runtime=self.runtime,
            analysed_at=datetime.now(UTC).isoformat(),
            seconds={"read": 0.01, "fusion": 0.01},
        )
