"""The real analysis, but one finding's place is kept back: it stays present and is not located.

The demonstration bundle locates whatever it finds in a synthetic thorax.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from dicom_node.analysis import Progress, load_analyser
from dicom_node.settings import Settings
from inference.saliency_file import read_saliency, saliency_bytes
from inference.series import SeriesChoice
from inference.study_result import BundleIdentity, Runtime, StudyResult


class PlaceWithheld:
    """An analyser with the networks of the settings' bundle that does not say where `finding` lies."""

    def __init__(self, settings: Settings, finding: str) -> None:
        self._analyser = load_analyser(
            settings.worker, settings.worker.bundles_folder / settings.worker.bundle
        )
        self._finding = finding

    @property
    def identity(self) -> BundleIdentity:
        return self._analyser.identity

    @property
    def runtime(self) -> Runtime:
        return self._analyser.runtime

    def analyse(
        self,
        paths: Sequence[Path],
        choice: SeriesChoice,
        *,
        key: str = "",
        progress: Progress | None = None,
        keep_saliency: Callable[[bytes], None] | None = None,
    ) -> StudyResult:
        def keep(content: bytes) -> None:
            stored = read_saliency(content)
            others = {name: saliency for name, saliency in stored.maps.items() if name != self._finding}
            if keep_saliency is not None:
                keep_saliency(saliency_bytes(others, stored.volume_affine, stored.overview))

        result = self._analyser.analyse(paths, choice, key=key, progress=progress, keep_saliency=keep)
        findings = tuple(
            replace(item, region=None) if item.name == self._finding else item for item in result.findings
        )
        return replace(result, findings=findings)

    def analyse_nifti(self, path: Path, *, name: str, progress: Progress | None = None) -> StudyResult:
        return self._analyser.analyse_nifti(path, name=name, progress=progress)
