"""An analyser that prepares a study as the networks want it, and answers without them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from dicom_node.analysis import Progress
from fuzz.targets.series import SPEC
from inference.preparation import prepare_nifti, prepare_series
from inference.series import SeriesChoice
from inference.stages import Stages
from inference.study_result import SliceReference, StudyResult
from tests.dicom_node.stand_in import StandInAnalyser


class PreparingAnalyser(StandInAnalyser):
    """Everything but the networks: pixels, volume, lungs, densities, encoder input."""

    def analyse(
        self,
        paths: Sequence[Path],
        choice: SeriesChoice,
        *,
        key: str = "",
        progress: Progress | None = None,
        keep_saliency: Callable[[bytes], None] | None = None,
    ) -> StudyResult:
        """The same answer about every series that can be read."""
        volume = prepare_series(paths, choice, SPEC, workers=2, stages=Stages(progress)).volume
        slices, rows, columns = volume.voxels_hu.shape
        middle = slices // 2
        best = SliceReference(
            middle, volume.sop_instance_uids[middle], volume.frame_numbers[middle], rows / 2, columns / 2
        )
        result = self._result(key, choice)
        (finding,) = result.findings
        return replace(
            result,
            findings=(replace(finding, best_slice=best),),
            key_slices=(best,),
            image_sop_instance_uids=tuple(dict.fromkeys(volume.sop_instance_uids)),
            warnings=(*choice.warnings, *volume.warnings),
        )

    def analyse_nifti(self, path: Path, *, name: str, progress: Progress | None = None) -> StudyResult:
        """The same answer about every volume that can be read."""
        prepare_nifti(path, name, SPEC, stages=Stages(progress))
        return super().analyse_nifti(path, name=name, progress=progress)
