"""A study's files made ready for the networks: volume, lungs, encoder input. No network is needed here.

Kept apart from the networks so that the next study is read while they compute.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from inference.densitometry import Densitometry, densitometry
from inference.encoder_input import EncoderInput, encoder_input
from inference.errors import VolumeRefusal
from inference.findings import plane_source
from inference.lung_coverage import cut_off_warnings, open_ends, refuse_truncated
from inference.lungs import Lungs, find_lungs
from inference.nifti import read_nifti
from inference.series import SeriesChoice
from inference.stages import Stages
from inference.study_result import SeriesDecision
from inference.volume import CTVolume, read_volume
from models.manifest import InputSpec


@dataclass(frozen=True)
class PreparedStudy:
    """What the networks are given about one study.

    Attributes
    ----------
    volume, lungs
        The CT, and its lungs; None where none were found and none are required.
    densitometry
        What was measured in the lungs; None without them.
    encoder_input
        Of the bundle's input spec.
    plane_sources
        A lasting name of the source image of each plane of the encoder input: seeds of the diffusion's noise.
    series, warnings
        What became of every series, and what is to be said about the images.
    stages
        The clock of this study, which goes on when the networks read it.
    """

    volume: CTVolume
    lungs: Lungs | None
    densitometry: Densitometry | None
    encoder_input: EncoderInput
    plane_sources: tuple[str, ...]
    series: tuple[SeriesDecision, ...]
    warnings: tuple[str, ...]
    stages: Stages


def prepare_series(
    paths: Sequence[Path],
    choice: SeriesChoice,
    spec: InputSpec,
    *,
    workers: int,
    stages: Stages,
    reading_timeout_s: float = math.inf,
) -> PreparedStudy:
    """The chosen series of a study; `paths` may hold images that the choice does not name.

    Raises
    ------
    Refusal
        If the series cannot be read, is no chest, or shows too little of it.
    """
    with stages.measure("read"):
        volume = read_volume(
            paths,
            workers=workers,
            only=frozenset(choice.sop_instance_uids),
            deadline=time.monotonic() + reading_timeout_s,
        )
    with stages.measure("lungs"):
        lungs = find_lungs(volume)
        refuse_truncated(lungs)
        measured = densitometry(volume, lungs)
    return _prepared(
        volume,
        lungs,
        measured,
        spec,
        stages,
        series=choice.decisions,
        warnings=(*choice.warnings, *volume.warnings),
    )


def prepare_nifti(path: Path, name: str, spec: InputSpec, *, stages: Stages) -> PreparedStudy:
    """A NIfTI volume, its study being called `nifti_<name>`.

    As in the original, a volume without lungs or with a part of them is analysed too, with a warning: such a
    file comes from a person who chose it, often cropped, and not from a scanner.

    Raises
    ------
    Refusal
        `not_a_nifti`, `too_few_slices`
    """
    with stages.measure("read"):
        volume = read_nifti(path, name=name)
    lungs: Lungs | None = None
    measured: Densitometry | None = None
    missing: tuple[str, ...] = ()
    with stages.measure("lungs"):
        try:
            lungs = find_lungs(volume)
            measured = densitometry(volume, lungs)
        except VolumeRefusal as refusal:
            missing = (refusal.sentence,)
    return _prepared(volume, lungs, measured, spec, stages, series=(), warnings=(*volume.warnings, *missing))


def _prepared(
    volume: CTVolume,
    lungs: Lungs | None,
    measured: Densitometry | None,
    spec: InputSpec,
    stages: Stages,
    *,
    series: tuple[SeriesDecision, ...],
    warnings: tuple[str, ...],
) -> PreparedStudy:
    with stages.measure("prepare"):
        prepared = encoder_input(volume, spec, lungs)
    cut_off = cut_off_warnings(open_ends(lungs)) if lungs is not None else ()
    planes = range(len(prepared.tensor))
    sources = tuple(_source_name(volume, plane_source(prepared, volume, plane)) for plane in planes)
    said = (*warnings, *cut_off, *prepared.warnings)
    return PreparedStudy(volume, lungs, measured, prepared, sources, series, said, stages)


def _source_name(volume: CTVolume, index: int) -> str:
    """A lasting name of a slice's source image."""
    frame = volume.frame_numbers[index]
    return volume.sop_instance_uids[index] if frame is None else f"{volume.sop_instance_uids[index]}/{frame}"
