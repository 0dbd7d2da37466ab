"""What the node needs of the analysis; `inference.analyse.Analyser` is it, loaded once in each process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from dicom_node.errors import NodeError
from dicom_node.settings import Settings, WorkerSettings
from inference.series import SeriesChoice
from inference.study_result import BundleIdentity, Runtime, StudyResult

if TYPE_CHECKING:
    from inference.analyse import Analyser
    from inference.self_test import SelfTestReport

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
        keep_saliency: Callable[[bytes], None] | None = None,
    ) -> StudyResult:
        """The answer about the chosen series, whose files are given.

        `keep_saliency` is given the content of the file with the located findings' saliency.
        """

    def analyse_nifti(self, path: Path, *, name: str, progress: Progress | None = None) -> StudyResult:
        """The answer about a NIfTI volume."""


@dataclass(frozen=True)
class LoadedBundle:
    """Networks that passed their self-test, and the report of it; None where they are not a bundle's."""

    analyser: StudyAnalyser
    self_test: SelfTestReport | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is to be said in every result."""
        return self.self_test.warnings if self.self_test is not None else ()


class BundleNotUsable(NodeError):  # noqa: N818 - as the rest of its tree
    """A bundle cannot be used on this machine: not as listed, not complete, or not computed rightly."""


BundleLoader = Callable[[Settings, Path], LoadedBundle]


def load_analyser(worker: WorkerSettings, folder: Path) -> Analyser:
    """The networks of the bundle in `folder`, as the settings want them to compute; not tested.

    Raises
    ------
    models.bundle.BundleError, inference.fusion.FusionError
        If the bundle is not what its manifest says, or does not fit together.
    """
    # Imported here, since torch takes seconds that a command without networks need not spend.
    from inference.analyse import Analyser  # noqa: PLC0415

    return Analyser(
        folder,
        device=worker.device,
        precision=worker.network_precision,
        threads=worker.threads,
        cpu_fallback=worker.cpu_fallback,
        reading_timeout_s=worker.reading_timeout_s,
    )


def load_tested_bundle(settings: Settings, folder: Path) -> LoadedBundle:
    """The bundle in `folder`: verified, its networks loaded and warm, its self-test passed on this machine.

    Raises
    ------
    BundleNotUsable
        With the sentence of what is wrong.
    """
    from inference.fusion import FusionError  # noqa: PLC0415
    from inference.self_test import SelfTestError, run_self_test  # noqa: PLC0415
    from models.bundle import BundleError  # noqa: PLC0415

    try:
        analyser = load_analyser(settings.worker, folder)
        report = run_self_test(analyser, folder)
        analyser.warm_up()
    except (BundleError, FusionError, SelfTestError) as error:
        raise BundleNotUsable(str(error)) from error
    return LoadedBundle(analyser, report)
