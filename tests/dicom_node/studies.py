"""Small CT studies for the tests of the node: 24 slices of 64 x 64, sent as a scanner would."""

from __future__ import annotations

import zlib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from pydicom import dcmread

from dicom_node.cstore import Peer, send_objects
from dicom_node.local_orthanc import LocalOrthanc
from phantom.dicom import Series, Study, write_series
from phantom.grid import centred_grid
from phantom.identity import PatientIdentity

SLICES = 24
PATIENT = PatientIdentity("Geheim^Niemand", "SECRET-4711", "O", None)
LUNG = Series(number=2, description="Thorax lung", kernel="LUNG")


def chest_study(name: str) -> Study:
    """Study named `name`: another name, other UIDs."""
    start = datetime(2026, 3, 1, 10, 15, tzinfo=UTC)
    return Study(name, PATIENT, start, "CT chest", "CHEST", ("169069000", "CT of chest"))


def write_chest(
    folder: Path, name: str, series: Series = LUNG, *, slices: int = SLICES, seed: int = 0
) -> list[Path]:
    """Files of one series of a study, from the feet up."""
    grid = centred_grid((10.0, 5.0, 5.0), (slices, 64, 64))
    noise = np.random.default_rng([seed, zlib.crc32(name.encode())])
    planes = noise.integers(-1000, 200, grid.shape).astype(np.int16)
    return write_series(planes, grid, folder / f"{name}-{series.number}", chest_study(name), series)


def write_scout(folder: Path, name: str) -> list[Path]:
    """One localizer: a CT image that is no series to analyse."""
    series = Series(
        number=1, description="Scout", kernel="STD", image_type="LOCALIZER", orientation=(1, 0, 0, 0, 0, -1)
    )
    return write_chest(folder, name, series, slices=1)


def as_modality(path: Path, modality: str, sop_class: str) -> Path:
    """The file turned into an image of another modality."""
    dataset = dcmread(path)
    dataset.Modality, dataset.SOPClassUID = modality, sop_class
    dataset.file_meta.MediaStorageSOPClassUID = sop_class
    dataset.save_as(path)
    return path


def send(paths: list[Path], archive: LocalOrthanc) -> None:
    """C-STORE to the archive; every object must be stored."""
    peer = Peer("127.0.0.1", archive.dicom_port, archive.aet)
    sent = send_objects(peer, paths, calling_aet="SCANNER")
    assert all(item.stored for item in sent)


def study_uid(name: str) -> str:
    """Study Instance UID of the study named `name`."""
    return str(chest_study(name).uid)


def other_series(number: int, kernel: str) -> Series:
    """A further series of the same study."""
    return replace(LUNG, number=number, kernel=kernel, description=f"Thorax {kernel}")
