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
    SaliencyRegion,
    SliceReference,
    StudyResult,
)


class StandInAnalyser:
    """Records its calls; `gate` holds an analysis until it is set, `faults` are raised one for each call.

    `saliency`, if there is any, is what it lets the node keep beside the result; `polygon` encloses where it
    looked on the slice of its finding.
    """

    def __init__(self, *, digest: str = "ab" * 32) -> None:
        self.identity = BundleIdentity("stand-in", "1.0.0", digest, True, "Apache-2.0", "Tests.")
        self.runtime = Runtime("0.1.0", "2.13.0", "cpu", "float32")
        self.calls: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self.faults: list[Exception] = []
        self.saliency = b""
        self.polygon: tuple[tuple[float, float], ...] = ()

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
        headers = [dcmread(path, stop_before_pixels=True) for path in paths]
        assert tuple(header.SOPInstanceUID for header in headers) == choice.sop_instance_uids
        return self._result(key, choice, 1 if "NumberOfFrames" in headers[0] else None)

    def analyse_nifti(self, path: Path, *, name: str, progress: Progress | None = None) -> StudyResult:
        self.calls.append("")
        choice = SeriesChoice(f"nifti_{name}", f"nifti_{name}_series", (), ())
        return self._result("", choice)

    def _result(self, key: str, choice: SeriesChoice, frame: int | None = None) -> StudyResult:
        """The answer; `frame` is that of the key slice where the images are multi-frame."""
        middle = len(choice.sop_instance_uids) // 2
        uid = choice.sop_instance_uids[middle] if choice.sop_instance_uids else ""
        best = SliceReference(middle, uid, frame, 20.0, 30.0)
        region = SaliencyRegion(best, self.polygon, 0.8, 0.2) if self.polygon else None
        finding = Finding("Lung nodule", 0.9, 0.5, True, 3, {"stand-in": 0.9}, "left", best, region=region)
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
