"""The study that is measured: a synthetic chest as a ZIP of DICOM files, made once and kept."""

from __future__ import annotations

import zipfile
from io import BytesIO
from pathlib import Path

from phantom.cases import DEMO_CASES
from phantom.grid import Grid, centred_grid
from phantom.render import acquisition_grid
from phantom.studies import chest_study

CASE = DEMO_CASES[1]


def study_archive(path: Path, slices: int, side: int = 512) -> Path:
    """A chest of `slices` slices of `side` x `side`, Explicit VR Little Endian, in a deflated ZIP.

    `path` is left as it is where it exists.
    """
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, dataset in enumerate(chest_study(CASE, grid=_grid(slices, side)).datasets(), start=1):
            content = BytesIO()
            dataset.save_as(content, enforce_file_format=True)
            archive.writestr(f"DICOM/IM{number:05d}", content.getvalue())
    return unfinished.rename(path)


def _grid(slices: int, side: int) -> Grid:
    """The case's acquisition cut into more or fewer slices: the same stretch of the body."""
    usual = acquisition_grid(CASE, side, side)
    thickness = round(usual.shape[0] * usual.spacing_mm[0] / slices, 3)
    return centred_grid((thickness, *usual.spacing_mm[1:]), (slices, *usual.shape[1:]))
