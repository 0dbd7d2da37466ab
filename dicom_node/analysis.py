"""What the node needs of the analysis; `inference.analyse.Analyser` is it, loaded once in each process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from dicom_node.settings import Settings
from inference.series import SeriesChoice
from inference.study_result import BundleIdentity, Runtime, StudyResult

Progress = Callable[[str, float], None]


class StudyAnalyser(Protocol):
    """Files of a chosen series in, the answer about the study out; `Refusal` for what it cannot read."""

    @property
    def identity(self) -> BundleIdentity:
        """The bundle that answers."""

    @property
    def runtime(self) -> Runtime:
        """What computes."""

    def analyse(
        self,
        paths: Sequence[Path],
        choice: SeriesChoice,
        *,
        key: str = "",
        progress: Progress | None = None,
    ) -> StudyResult:
        """The answer about the chosen series, whose files are given."""

    def analyse_nifti(self, path: Path, *, name: str, progress: Progress | None = None) -> StudyResult:
        """The answer about a NIfTI volume."""


def load_analyser(settings: Settings) -> StudyAnalyser:
    """The analyser of the settings' bundle, its networks loaded.

    Raises
    ------
    models.bundle.BundleError
        If the bundle is not what its manifest says.
    """
    # Imported here, since torch takes seconds that a command without networks need not spend.
    from inference.analyse import Analyser  # noqa: PLC0415

    worker = settings.worker
    return Analyser(
        settings.bundle_folder,
        device=worker.device,
        precision=worker.network_precision,
        threads=worker.threads,
    )
