"""The study that is measured, a synthetic chest as a ZIP of DICOM files, and how the node receives it."""

from __future__ import annotations

import time
import zipfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from dicom_node.settings import HttpSettings
from dicom_node.uploads import receive_zip
from inference.dicom_files import DicomFiles, one_study, read_headers
from inference.series import SeriesChoice, choose_series
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


@dataclass(frozen=True)
class ReceivedStudy:
    """A study as the node has it before anything of it is read: its files, the series, seconds by stage."""

    files: DicomFiles
    choice: SeriesChoice
    seconds: dict[str, float]


def receive_study(archive: Path, folder: Path) -> ReceivedStudy:
    """Unpack an archive into an empty folder, read its headers and choose the series, as an upload is."""
    started = time.perf_counter()
    upload = receive_zip(archive, HttpSettings(), folder)
    received = time.perf_counter()
    files = read_headers(upload.files)
    choice = choose_series(one_study(files.headers))
    chosen = time.perf_counter()
    seconds = {"unpack": received - started, "headers and choice": chosen - received}
    return ReceivedStudy(files, choice, seconds)


def _grid(slices: int, side: int) -> Grid:
    """The case's acquisition cut into more or fewer slices: the same stretch of the body."""
    usual = acquisition_grid(CASE, side, side)
    thickness = round(usual.shape[0] * usual.spacing_mm[0] / slices, 3)
    return centred_grid((thickness, *usual.spacing_mm[1:]), (slices, *usual.shape[1:]))
