"""One upload for every code of refusal, as a caller sends it, and what the caller is told."""

from __future__ import annotations

import io
import os
import resource
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from inference.errors import RefusalCode
from tests.dicom_node.small_study import write_small_chest
from tests.inference.synthetic import ct_image, ct_series, save

MARK = "GEHEIM"
PATIENT = {
    "PatientName": f"{MARK}^Jane", "PatientID": f"{MARK}-7", "PatientBirthDate": "19500607",
    "SeriesDescription": f"{MARK} thorax", "InstitutionName": f"{MARK} Hospital", "AccessionNumber": MARK,
}  # fmt: skip
LARGEST_FILE = 6 << 20


@dataclass(frozen=True)
class RefusedUpload:
    """`body` writes what is sent; `limits` are settings by dotted name, without which it is not refused.

    `status` and `sentence` are what the caller gets; `nifti`: it goes to `/predict_nifti`. `study_uid` is the
    study that is asked for. `within` holds while it is sent.
    """

    body: Callable[[Path], bytes]
    status: int
    sentence: str
    nifti: bool = False
    study_uid: str | None = None
    limits: tuple[tuple[str, float], ...] = ()
    within: Callable[[], Any] = nullcontext


def zipped_images(images: list[Dataset]) -> Callable[[Path], bytes]:
    return lambda folder: in_zip({path.name: path.read_bytes() for path in save(images, folder / "images")})


def in_zip(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            archive.writestr(f"{MARK}_Jane/{name}" if not name.startswith("..") else name, data)
    return buffer.getvalue()


def scan(
    count: int = 30, change: Callable[[int], dict[str, Any]] | None = None, **tags: Any
) -> list[Dataset]:
    return ct_series(count, change, **{**PATIENT, **tags})


def with_broken_pixels(images: list[Dataset], *indices: int) -> list[Dataset]:
    for index in indices:
        images[index].PixelData = images[index].PixelData[:100]
    return images


def _half_a_chest(folder: Path) -> bytes:
    paths = write_small_chest(folder / "chest")
    return in_zip({path.name: path.read_bytes() for path in paths[len(paths) // 2 :]})


@contextmanager
def _disk_almost_full() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def _water(index: int) -> Dataset:
    return ct_image(index, np.full((12, 16), 1064, np.int16), **PATIENT)


REFUSED: dict[RefusalCode, RefusedUpload] = {
    RefusalCode.NO_CT_SERIES: RefusedUpload(
        zipped_images(scan(2, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])), 422,
        "The study holds no axial CT series that can be analysed (1 localizer).",
    ),
    RefusalCode.TOO_FEW_SLICES: RefusedUpload(
        zipped_images(scan(12)), 422, "The series has 12 slices; at least 20 are needed.",
    ),
    RefusalCode.NOT_AXIAL: RefusedUpload(
        zipped_images(scan(ImageOrientationPatient=[1, 0, 0, 0, 0, -1])), 422,
        "The images lie 90 degrees from the axial plane: a reformat or a scout.",
    ),
    RefusalCode.GANTRY_TILT: RefusedUpload(
        zipped_images(scan(30, lambda k: {"ImagePositionPatient": [-100.0, -80 + 1.65 * k, -300 + 2.5 * k]})),
        422, "The gantry was tilted by 33.4 degrees; up to 30 can be straightened.",
    ),
    RefusalCode.MISSING_SLICES: RefusedUpload(
        zipped_images([image for image in scan(40) if image.InstanceNumber not in {9, 18, 27}]), 422,
        "About 3 slice(s) are missing: distances between neighbours range from 2.50 to 5.00 mm.",
    ),
    RefusalCode.MIXED_GEOMETRY: RefusedUpload(
        zipped_images(
            scan(30, lambda k: {"ImagePositionPatient": [-100.0 + 5 * (k % 2), -80.0, -300 + 2.5 * k]})
        ),
        422, "The images are shifted against each other by up to 4.8 mm.",
    ),
    RefusalCode.NO_LUNGS: RefusedUpload(
        zipped_images([_water(index) for index in range(24)]), 422,
        "it is not a CT of the chest, or one with hardly any air in the lungs.",
    ),
    RefusalCode.LUNGS_TRUNCATED: RefusedUpload(
        _half_a_chest, 422, "The series does not show a large part of the lungs: ",
    ),
    RefusalCode.UNREADABLE_PIXELS: RefusedUpload(
        zipped_images(with_broken_pixels(scan(), 4, 14, 24)), 422,
        "At least 3 of 30 slices cannot be decoded (they are damaged, or not as their header says).",
    ),
    RefusalCode.NOT_DICOM: RefusedUpload(
        lambda _: in_zip({"letter.txt": MARK.encode()}), 422,
        "None of the 1 file(s) is a DICOM image that can be read.",
    ),
    RefusalCode.NOT_A_ZIP: RefusedUpload(
        lambda _: f"A letter about {MARK}.".encode(), 400, "The file is not a ZIP archive.",
    ),
    RefusalCode.NOT_A_NIFTI: RefusedUpload(
        lambda _: f"A letter about {MARK}.".encode(), 400,
        "The file is not a NIfTI volume (.nii or .nii.gz).", nifti=True,
    ),
    RefusalCode.TOO_LARGE: RefusedUpload(
        zipped_images(scan(Rows=8000, Columns=8000, PixelSpacing=[0.1, 0.1])), 413,
        "The series has 1.9 thousand million voxels.",
    ),
    RefusalCode.UNSAFE_ARCHIVE: RefusedUpload(
        lambda _: in_zip({f"../{MARK}": b"x"}), 422, "A path in the archive leads out of it.",
    ),
    RefusalCode.MIXED_PATIENTS: RefusedUpload(
        zipped_images([*scan(), ct_image(40, PatientID=f"{MARK}-8")]), 422, "The files belong to 2 patients.",
    ),
    RefusalCode.MIXED_STUDIES: RefusedUpload(
        zipped_images([*scan(), ct_image(40, **PATIENT, StudyInstanceUID="1.2.3")]), 422,
        "The files belong to 2 studies.",
    ),
    RefusalCode.STUDY_NOT_FOUND: RefusedUpload(
        zipped_images(scan(2)), 422, "The study asked for is not among the files.", study_uid="1.2.3",
    ),
    RefusalCode.UNPACKING_TOO_SLOW: RefusedUpload(
        lambda _: in_zip({"image": b"x"}), 422, "The archive could not be unpacked within 1e-09 s.",
        limits=(("http.unpack_timeout_s", 1e-9),),
    ),
    RefusalCode.READING_TOO_SLOW: RefusedUpload(
        zipped_images(scan(2)), 422, "The images could not be read within the time that one study has.",
        limits=(("worker.reading_timeout_s", 1e-9),),
    ),
    RefusalCode.NO_SPACE: RefusedUpload(
        lambda _: in_zip({"image": os.urandom(LARGEST_FILE + 1000)}), 507,
        "The node's disk has no room for the upload: nothing of it was kept.", within=_disk_almost_full,
    ),
}  # fmt: skip
