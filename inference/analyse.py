"""One study's files in, its `StudyResult` out: the whole analysis, with the networks loaded once."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from inference.allocator import keep_freed_memory
from inference.answer import Answer, study_answer
from inference.bundle_facts import bundle_facts
from inference.errors import RefusalCode, VolumeRefusal
from inference.memory_use import MemberMemory
from inference.network_reader import NetworkReader
from inference.overview import coronal_overview
from inference.preparation import PreparedStudy, prepare_nifti, prepare_series
from inference.reading_pool import READERS
from inference.saliency_file import saliency_bytes
from inference.series import SeriesChoice
from inference.stages import Progress, Stages
from inference.study_result import StudyResult
from models.bundle import load_bundle
from models.precision import Precision

MOST_DECODERS = 4
"""Files of one study that are decoded at a time, unless the threads are set; other studies are, too."""


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
        self.runtime = self._reader.runtime
        self._facts = bundle_facts(self._reader.ensemble)
        self.identity = self._facts.identity

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
        if study.densitometry is None and self._facts.needs_densities:
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
        return study_answer(study, self._reader.read(study, measure=measure), self._facts, key=key)
