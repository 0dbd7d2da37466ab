"""One study's files in, its `StudyResult` out: the whole analysis, with the networks loaded once."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch

from inference.allocator import keep_freed_memory
from inference.calibration import calibration_identity
from inference.columns import DENSITOMETRY, DIFFUSION, UnknownLabelError, column_names, score_columns
from inference.decision import decide
from inference.densitometry import COLUMNS as DENSITOMETRY_COLUMNS
from inference.errors import RefusalCode, VolumeRefusal
from inference.findings import findings, key_slices, side_warning
from inference.fusion import Fusion, FusionCode, FusionError
from inference.memory_use import MemberMemory
from inference.network_reader import NetworkReader
from inference.overview import coronal_overview
from inference.preparation import PreparedStudy, prepare_nifti, prepare_series
from inference.reading_pool import READERS
from inference.saliency import SaliencyMap, anomaly_saliency
from inference.saliency_file import saliency_bytes
from inference.series import SeriesChoice
from inference.stages import Progress, Stages
from inference.study_result import Algorithm, BundleIdentity, StudyResult
from inference.version import SOFTWARE_VERSION
from models.bundle import load_bundle
from models.precision import Precision

DEMONSTRATION = (
    "Made with a demonstration bundle trained on synthetic images: not for diagnosis, its answer about a"
    " patient means nothing."
)

MOST_DECODERS = 4
"""Files of one study that are decoded at a time, unless the threads are set; other studies are, too."""


@dataclass(frozen=True)
class Answer:
    """A study's result, the saliency of each finding by name, and the diffusion's anomaly map.

    `anomaly` is None where there is no reconstruction.
    """

    result: StudyResult
    saliency: dict[str, SaliencyMap]
    anomaly: SaliencyMap | None


class Analyser:
    """The ensemble of one bundle, loaded once in each worker.

    Several threads may prepare studies at once; the networks read one study at a time.
    """

    def __init__(
        self,
        bundle_folder: Path,
        *,
        device: str = "cpu",
        precision: Precision = "float32",
        threads: int | None = None,
        cpu_fallback: bool = True,
        reading_timeout_s: float = math.inf,
    ) -> None:
        """Load and verify the bundle.

        Parameters
        ----------
        bundle_folder
            The folder that holds `bundle.toml`.
        device
            Where the networks run, as torch names it.
        precision
            In which numbers they compute; see `models.precision`.
        threads
            Threads of torch; None leaves its default.
        cpu_fallback
            Whether a study for which a GPU has too little memory is read on the CPU in float32.
        reading_timeout_s
            Longest time for reading all files of one study.

        Raises
        ------
        models.bundle.BundleError, inference.fusion.FusionError
            If the bundle is not what its manifest says, or its fusion does not fit its members.
        """
        if threads is not None:
            torch.set_num_threads(threads)
        self._reading_timeout_s = reading_timeout_s
        self._workers = threads or min(os.cpu_count() or 2, MOST_DECODERS)
        keep_freed_memory()
        READERS.start(self._workers)  # ready when the networks are
        bundle = load_bundle(bundle_folder, device=device, precision=precision)
        self.manifest = bundle.manifest
        self.precision = precision
        self._reader = NetworkReader(bundle, device=device, precision=precision, cpu_fallback=cpu_fallback)
        self._ensemble = self._reader.ensemble
        spec = bundle.manifest.fusion
        self._fusion = Fusion(bundle.fusion_path, spec) if bundle.fusion_path is not None and spec else None
        self.identity = BundleIdentity(
            name=bundle.manifest.name,
            version=bundle.manifest.version,
            digest=bundle.digest,
            demonstration=bundle.manifest.demonstration,
            licence=bundle.manifest.licence,
            intended_use=bundle.manifest.intended_use,
            calibration=calibration_identity(bundle.manifest.calibration),
        )
        self.runtime = self._reader.runtime
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
        keep_saliency: Callable[[bytes], None] | None = None,
    ) -> StudyResult:
        """The answer about the chosen series: `prepare`, then `answer`.

        `keep_saliency` is given the saliency of the located findings (`inference.saliency_file`).

        Raises
        ------
        Refusal
            If the series cannot be read or is no chest.
        """
        study = self.prepare(paths, choice, progress=progress)
        answer = self.answer(study, key=key)
        if keep_saliency is not None:
            located = {
                finding.name: answer.saliency[finding.name]
                for finding in answer.result.findings
                if finding.region is not None
            }
            keep_saliency(
                saliency_bytes(located, study.volume.affine, coronal_overview(study.volume, study.lungs))
            )
        return answer.result

    def analyse_nifti(self, path: Path, *, name: str, progress: Progress | None = None) -> StudyResult:
        """The answer about a NIfTI volume, its study being called `nifti_<name>`.

        Raises
        ------
        Refusal
            `not_a_nifti`, `too_few_slices`
        """
        return self.answer(self.prepare_nifti(path, name=name, progress=progress)).result

    def prepare(
        self, paths: Sequence[Path], choice: SeriesChoice, *, progress: Progress | None = None
    ) -> PreparedStudy:
        """The chosen series made ready for the networks; any number of threads may do so at once.

        Parameters
        ----------
        paths
            Files of the chosen series; images that the choice does not name are left out.
        choice
            What `choose_series` said.
        progress
            Told of every stage, those of `answer` too.

        Raises
        ------
        Refusal
            If the series cannot be read or is no chest.
        """
        return prepare_series(
            paths,
            choice,
            self.manifest.input,
            workers=self._workers,
            stages=Stages(progress),
            reading_timeout_s=self._reading_timeout_s,
        )

    def prepare_nifti(self, path: Path, *, name: str, progress: Progress | None = None) -> PreparedStudy:
        """A NIfTI volume made ready for the networks.

        Raises
        ------
        Refusal
            `not_a_nifti`, `too_few_slices`; `no_lungs` where the fusion model asks for their densities.
        """
        study = prepare_nifti(path, name, self.manifest.input, stages=Stages(progress))
        if study.densitometry is None and self._needs_densities:
            raise VolumeRefusal(
                RefusalCode.NO_LUNGS,
                "No lungs were found, and this bundle's fusion model needs their density.",
            )
        return study

    def warm_up(self) -> tuple[MemberMemory, ...]:
        """Let the networks read once, so that the first study need not wait for what is done once.

        Does nothing where a study was measured already (`answer` with `measure`): a self-test warms up, too.
        """
        return self._reader.warm_up()

    @property
    def memory(self) -> tuple[MemberMemory, ...]:
        """What each member was measured to take; empty before `warm_up`."""
        return self._reader.memory

    def answer(self, study: PreparedStudy, *, key: str = "", measure: bool = False) -> Answer:
        """What the ensemble says about a prepared study; waits while it reads another.

        `key` is the key of work, kept in the result; with `measure` the memory of each member is measured,
        see `memory`.
        """
        stages, volume, prepared = study.stages, study.volume, study.encoder_input
        answer = self._reader.read(study, measure=measure)
        reading, saliency, measured = answer.reading, answer.saliency, study.densitometry
        with stages.measure("fusion"):
            densities = {DENSITOMETRY: measured.columns} if measured is not None else {}
            columns = score_columns({**reading.scores, **densities}, self._groups)
            reliance = self.manifest.saliency
            found = findings(
                self.manifest.findings, columns, saliency, volume, study.lungs, reliance=reliance
            )
            fused = self._fusion.fuse(columns) if self._fusion is not None else None
            decision = decide(self.manifest, fused, found, columns)
            no_side = side_warning(found, reliance)
        result = StudyResult(
            key=key,
            study_uid=volume.study_uid,
            series_uid=volume.series_uid,
            probability=decision.probability,
            operating_point=decision.operating_point,
            decision=decision.decision,
            verdict=decision.verdict,
            indeterminate=decision.indeterminate,
            calibration=decision.calibration,
            most_dangerous=decision.most_dangerous,
            findings=found,
            measurements=measured.measurements if measured is not None else (),
            contributions=fused.contributions if fused is not None else (),
            member_scores=reading.scores,
            key_slices=key_slices(found, reading, prepared, volume, study.lungs),
            image_sop_instance_uids=tuple(dict.fromkeys(volume.sop_instance_uids)),
            series=study.series,
            warnings=(
                *self._standing_warnings,
                *study.warnings,
                *reading.warnings,
                *decision.warnings,
                *((no_side,) if no_side is not None else ()),
            ),
            bundle=self.identity,
            algorithms=self._algorithms,
            runtime=answer.runtime,
            analysed_at=datetime.now(UTC).isoformat(),
            seconds=stages.seconds,
        )
        anomaly = (
            anomaly_saliency(reading.anomaly, prepared, volume.voxels_hu.shape)
            if reading.anomaly is not None
            else None
        )
        return Answer(result, saliency, anomaly)

    @property
    def _groups(self) -> dict[str, tuple[str, ...]]:
        return self.manifest.fusion.groups if self.manifest.fusion is not None else {}

    @property
    def _needs_densities(self) -> bool:
        spec = self.manifest.fusion
        return spec is not None and any(
            name.startswith(f"{DENSITOMETRY}_") and name not in spec.constant_columns for name in spec.columns
        )

    def _check_columns(self) -> None:
        """Every column that fusion and findings need is one that the members give."""
        scores = {member: self._ensemble.score_names(member) for member in self._ensemble.members}
        scores[DENSITOMETRY] = tuple(DENSITOMETRY_COLUMNS)
        try:
            columns = column_names(scores, self._groups)
        except UnknownLabelError as error:
            raise FusionError(FusionCode.MISSING_COLUMN, str(error)) from error
        if self._fusion is not None:
            self._fusion.check(columns)
        missing = [name for spec in self.manifest.findings for name in spec.columns if name not in columns]
        if missing:
            raise FusionError(
                FusionCode.MISSING_COLUMN, f"findings need {', '.join(missing)}, which no member gives"
            )

    def _warnings_of_the_bundle(self) -> Iterator[str]:
        if self.manifest.demonstration:
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
        yield Algorithm(DENSITOMETRY, SOFTWARE_VERSION)
        if self._fusion is not None:
            yield Algorithm("fusion", version, {"trees": str(self._fusion.trees)})
