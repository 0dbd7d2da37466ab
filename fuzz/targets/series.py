"""The files of one study, from their headers to the volume and what the networks are given of it."""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import Path

import numpy as np

from fuzz.in_process import reading_in_process
from fuzz.scratch import scratch_folder
from fuzz.seeds import studies
from fuzz.series_mutation import mutate_series
from fuzz.target import Target
from inference.dicom_files import one_study, read_headers, source_headers
from inference.errors import Refusal
from inference.preparation import PreparedStudy, prepare_series
from inference.series import choose_series
from inference.stages import Stages
from models.manifest import InputSpec

SPEC = InputSpec(spacing_mm=(15.0, 15.0, 15.0), shape=(24, 24, 24), minimum_slices=4)
_MOST_FILES = 64


def read_series(content: bytes) -> str:
    """What becomes of the DICOM files in a ZIP that the standard library reads; a code if it is a refusal.

    Such a ZIP is only their wrapping here: that of a stranger is another target.
    """
    with scratch_folder() as folder:
        paths = _unpacked(content, folder)
        try:
            found = read_headers(paths)
            choice = choose_series(one_study(found.headers))
            chosen = found.series(choice)
            source_headers(chosen)
            _check(prepare_series(chosen, choice, SPEC, workers=2, stages=Stages()))
        except Refusal as refusal:
            return str(refusal.code)
        return "read"


def _unpacked(content: bytes, folder: Path) -> list[Path]:
    paths: list[Path] = []
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for number, member in enumerate(archive.infolist()[:_MOST_FILES]):
                path = folder / f"{number:03}"
                path.write_bytes(archive.read(member))
                paths.append(path)
    except (zipfile.BadZipFile, zlib.error, ValueError, NotImplementedError, EOFError, OSError, RuntimeError):
        pass  # what was unpacked before is the input
    return paths


def _check(study: PreparedStudy) -> None:
    volume = study.volume
    slices = len(volume.voxels_hu)
    if {slices} != {len(volume.sop_instance_uids), len(volume.frame_numbers)}:
        raise AssertionError("a slice without its source")
    if not (np.isfinite(volume.voxels_hu).all() and np.isfinite(volume.affine).all()):
        raise AssertionError("the volume is not finite")
    if not min(volume.spacing_mm) > 0:
        raise AssertionError("slices at one place")
    if not bool(study.encoder_input.tensor.isfinite().all()):
        raise AssertionError("the encoder input is not finite")


def _in_process(content: bytes) -> str:
    with reading_in_process():
        return read_series(content)


TARGET = Target(
    name="series",
    run=_in_process,
    whole=read_series,
    seeds=studies,
    mutate=mutate_series,
    allowance_bytes=1 << 30,
)
