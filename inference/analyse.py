"""One study's files in, its `StudyResult` out: the whole analysis, with the networks loaded once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import torch

from inference.columns import DIFFUSION, UnknownLabelError, score_columns
from inference.encoder_input import encoder_input
from inference.errors import VolumeRefusal
from inference.findings import finding_saliency, findings, key_slices, most_dangerous, plane_source
from inference.fusion import FusedScore, Fusion, FusionCode, FusionError
from inference.lungs import Lungs, find_lungs
from inference.members import Ensemble
from inference.nifti import read_nifti
from inference.series import SeriesChoice
from inference.stages import Progress, Stages
from inference.study_result import (
    Algorithm,
    BundleIdentity,
    Decision,
    Finding,
    Runtime,
    SeriesDecision,
    StudyResult,
)
from inference.version import SOFTWARE_VERSION
from inference.volume import CTVolume, read_volume
from models.bundle import BundleCode, BundleError, load_bundle

DEMONSTRATION = (
    "Made with a demonstration bundle trained on synthetic images: not for diagnosis, its answer about a"
    " patient means nothing."
)


class Analyser:
    """The ensemble of one bundle, loaded once in each worker; a study at a time."""

    def __init__(self, bundle_folder: Path, *, device: str = "cpu", threads: int | None = None) -> None:
        """Load and verify the bundle.

        Parameters
        ----------
        bundle_folder
            The folder that holds `bundle.toml`.
        device
            Where the networks run, as torch names it.
        threads
            Threads of torch; None leaves its default.

        Raises
        ------
        models.bundle.BundleError, inference.fusion.FusionError
            If the bundle is not what its manifest says, or its fusion does not fit its members.
        """
        if threads is not None:
            torch.set_num_threads(threads)
        self._workers = threads or 2
        bundle = load_bundle(bundle_folder, device=device)
        self._manifest = bundle.manifest
        self._ensemble = Ensemble(bundle, device=device)
        spec = bundle.manifest.fusion
        self._fusion = Fusion(bundle.fusion_path, spec) if bundle.fusion_path is not None and spec else None
        self.identity = BundleIdentity(
            name=bundle.manifest.name,
            version=bundle.manifest.version,
            digest=bundle.digest,
            demonstration=bundle.manifest.demonstration,
            licence=bundle.manifest.licence,
            intended_use=bundle.manifest.intended_use,
        )
        self.runtime = Runtime(SOFTWARE_VERSION, torch.__version__, device, "float32")
        self._check_columns()
        self._standing_warnings = tuple(self._warnings_of_the_bundle())
        self._algorithms = tuple(self._describe_algorithms())

    def analyse(
        self,
        paths: Sequence[Path],
        choice: SeriesChoice,
        *,
        key: str = "",
        progress: Progress | None = None,
    ) -> StudyResult:
        """The answer about the chosen series.

        Parameters
        ----------
        paths
            Files of the chosen series; images that the choice does not name are left out.
        choice
            What `choose_series` said.
        key
            Key of work, kept in the result.
        progress
            Told of every stage.

        Raises
        ------
        Refusal
            If the series cannot be read or is no chest.
        """
        stages = Stages(progress)
        with stages.measure("read"):
            volume = read_volume(paths, workers=self._workers, only=frozenset(choice.sop_instance_uids))
        return self._answer(volume, choice.decisions, choice.warnings, key, stages)

    def analyse_nifti(self, path: Path, *, name: str, progress: Progress | None = None) -> StudyResult:
        """The answer about a NIfTI volume, its study being called `nifti_<name>`.

        As in the original, a volume without lungs is analysed too, with a warning: such a file comes from a
        person who chose it, often cropped, and not from a scanner.

        Raises
        ------
        Refusal
            `not_a_nifti`, `too_few_slices`
        """
        stages = Stages(progress)
        with stages.measure("read"):
            volume = read_nifti(path, name=name)
        return self._answer(volume, (), (), "", stages, lungs_required=False)

    def _answer(
        self,
        volume: CTVolume,
        series: tuple[SeriesDecision, ...],
        warnings: tuple[str, ...],
        key: str,
        stages: Stages,
        *,
        lungs_required: bool = True,
    ) -> StudyResult:
        with stages.measure("lungs"):
            lungs, lung_warnings = _lungs(volume, required=lungs_required)
        with stages.measure("prepare"):
            prepared = encoder_input(volume, self._manifest.input)
        planes = range(len(prepared.tensor))
        sources = [_source_name(volume, plane_source(prepared, volume, plane)) for plane in planes]
        reading = self._ensemble.read(prepared.tensor, sources, stages)
        with stages.measure("saliency"):
            saliency = finding_saliency(self._ensemble, reading, prepared, volume)
        with stages.measure("fusion"):
            columns = score_columns(reading.scores, self._groups)
            found = findings(self._manifest.findings, columns, saliency, volume, lungs)
            fused, operating_point = self._fuse(columns, found)
        decision: Decision = 1 if fused.probability >= operating_point else 0
        dangerous, danger_warning = most_dangerous(found, decision)
        return StudyResult(
            key=key,
            study_uid=volume.study_uid,
            series_uid=volume.series_uid,
            probability=fused.probability,
            operating_point=operating_point,
            decision=decision,
            most_dangerous=dangerous,
            findings=found,
            measurements=(),
            contributions=fused.contributions,
            member_scores=reading.scores,
            key_slices=key_slices(found, reading, prepared, volume, lungs),
            image_sop_instance_uids=tuple(dict.fromkeys(volume.sop_instance_uids)),
            series=series,
            warnings=(
                *self._standing_warnings,
                *warnings,
                *volume.warnings,
                *lung_warnings,
                *([danger_warning] if danger_warning else []),
            ),
            bundle=self.identity,
            algorithms=self._algorithms,
            runtime=self.runtime,
            analysed_at=datetime.now(UTC).isoformat(),
            seconds=stages.seconds,
        )

    @property
    def _groups(self) -> dict[str, tuple[str, ...]]:
        return self._manifest.fusion.groups if self._manifest.fusion is not None else {}

    def _fuse(self, columns: dict[str, float], found: Sequence[Finding]) -> tuple[FusedScore, float]:
        """The study's probability and the operating point that goes with it."""
        if self._fusion is not None and self._manifest.fusion is not None:
            return self._fusion.fuse(columns), self._manifest.fusion.operating_point
        if self._manifest.fallback is None:
            raise BundleError(BundleCode.INVALID_MANIFEST, "neither [fusion] nor [fallback] is there")
        highest = max((finding.probability for finding in found), default=0.0)
        return FusedScore(highest, ()), self._manifest.fallback.operating_point

    def _check_columns(self) -> None:
        """Every column that fusion and findings need is one that the members give."""
        scores = {
            member: dict.fromkeys(self._ensemble.score_names(member), 0.0)
            for member in self._ensemble.members
        }
        try:
            columns = score_columns(scores, self._groups)
        except UnknownLabelError as error:
            raise FusionError(FusionCode.MISSING_COLUMN, str(error)) from error
        if self._fusion is not None:
            self._fusion.check(columns)
        missing = [name for spec in self._manifest.findings for name in spec.columns if name not in columns]
        if missing:
            raise FusionError(
                FusionCode.MISSING_COLUMN, f"findings need {', '.join(missing)}, which no member gives"
            )

    def _warnings_of_the_bundle(self) -> Iterator[str]:
        if self._manifest.demonstration:
            yield DEMONSTRATION
        if self._fusion is None:
            yield "The bundle has no fusion model: the probability is that of the highest finding."
        else:
            yield from self._fusion.warnings
        if DIFFUSION in self._ensemble.members and not self._ensemble.reconstructs:
            yield "The diffusion reconstruction is off in this bundle: there is no anomaly map."

    def _describe_algorithms(self) -> Iterator[Algorithm]:
        version = self.identity.version
        yield Algorithm("node", SOFTWARE_VERSION, {"bundle": f"{self.identity.name} {version}"})
        for member in self._ensemble.members:
            yield Algorithm(member, version)
        if self._fusion is not None:
            yield Algorithm("fusion", version, {"trees": str(self._fusion.trees)})


def _lungs(volume: CTVolume, *, required: bool) -> tuple[Lungs | None, tuple[str, ...]]:
    """The lungs and what is wrong with them; where they are not required, a warning in place of a refusal."""
    try:
        lungs = find_lungs(volume)
        return lungs, tuple(
            f"The series stops within the lungs at the {end} end: what lies beyond was not seen."
            for end in lungs.cut_off
        )
    except VolumeRefusal as refusal:
        if required:
            raise
        return None, (refusal.sentence,)


def _source_name(volume: CTVolume, index: int) -> str:
    """A lasting name of a slice's source image."""
    frame = volume.frame_numbers[index]
    return volume.sop_instance_uids[index] if frame is None else f"{volume.sop_instance_uids[index]}/{frame}"
