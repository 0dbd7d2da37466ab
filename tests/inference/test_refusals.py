"""Images that earn a refusal, and what a technologist then reads (tests/dicom_node: every code, by HTTP)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from inference.dicom_files import files_below, one_study, read_headers
from inference.errors import Refusal, RefusalCode
from inference.lung_coverage import refuse_truncated
from inference.lungs import find_lungs
from inference.series import choose_series
from inference.volume import CTVolume, read_volume
from tests.inference.synthetic import ct_image, ct_series, save
from tests.inference.test_lungs import chest

PATIENT = {"PatientID": "SECRET-7", "PatientName": "Doe^Jane", "PatientBirthDate": "19500607",
           "SeriesDescription": "Doe Jane", "InstitutionName": "Secret Hospital"}  # fmt: skip


def read(images: list[Dataset], folder: Path) -> CTVolume:
    """The whole way of images from files to a volume."""
    files = read_headers(save(images, folder))
    choice = choose_series(one_study(files.headers))
    return read_volume(files.series(choice), only=frozenset(choice.sop_instance_uids))


def scan(
    count: int = 30, change: Callable[[int], dict[str, Any]] | None = None, **tags: Any
) -> list[Dataset]:
    return ct_series(count, change, **{**PATIENT, **tags})


def broken(*indices: int) -> list[Dataset]:
    images = scan()
    for index in indices:
        images[index].PixelData = images[index].PixelData[:100]
    return images


def shorn(index: int) -> dict[str, Any]:
    """Planes that are moved sideways from one to the next, as by a gantry tilted by 33 degrees."""
    return {"ImagePositionPatient": [-100.0, -80.0 + 1.65 * index, -300.0 + 2.5 * index]}


SERIES: dict[str, tuple[list[Dataset], RefusalCode, str]] = {
    "only a scout": (
        scan(2, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), RefusalCode.NO_CT_SERIES,
        "The study holds no axial CT series that can be analysed (1 localizer).",
    ),
    "only a magnetic resonance study": (
        scan(Modality="MR"), RefusalCode.NO_CT_SERIES,
        "The study holds no axial CT series that can be analysed (1 not ct).",
    ),
    "a map of effective atomic numbers": (
        scan(RescaleType="Z_EFF"), RefusalCode.NO_CT_SERIES,
        "The study holds no axial CT series that can be analysed (1 not hounsfield).",
    ),
    "twelve slices": (
        scan(12), RefusalCode.TOO_FEW_SLICES, "The series has 12 slices; at least 20 are needed.",
    ),
    "a coronal reformat": (
        scan(ImageOrientationPatient=[1, 0, 0, 0, 0, -1]), RefusalCode.NOT_AXIAL,
        "The images lie 90 degrees from the axial plane: a reformat or a scout.",
    ),
    "a gantry tilted by 33 degrees": (
        scan(30, shorn), RefusalCode.GANTRY_TILT,
        "The gantry was tilted by 33.4 degrees; up to 30 can be straightened.",
    ),
    "three slices missing": (
        [image for image in scan(40) if image.InstanceNumber not in {9, 18, 27}], RefusalCode.MISSING_SLICES,
        "About 3 slice(s) are missing: distances between neighbours range from 2.50 to 5.00 mm.",
    ),
    "two neighbours missing": (
        [image for image in scan(40) if image.InstanceNumber not in {9, 10}], RefusalCode.MISSING_SLICES,
        "About 2 slice(s) are missing: distances between neighbours range from 2.50 to 7.50 mm.",
    ),
    "slices shifted sideways": (
        scan(30, lambda k: {"ImagePositionPatient": [-100.0 + 5 * (k % 2), -80.0, -300 + 2.5 * k]}),
        RefusalCode.MIXED_GEOMETRY, "The images are shifted against each other by up to 4.8 mm.",
    ),
    "three broken slices": (
        broken(4, 14, 24), RefusalCode.UNREADABLE_PIXELS,
        "At least 3 of 30 slices cannot be decoded (they are damaged, or not as their header says).",
    ),
    "a matrix beyond memory": (
        scan(Rows=8000, Columns=8000, PixelSpacing=[0.1, 0.1]), RefusalCode.TOO_LARGE,
        "The series has 1.9 thousand million voxels.",
    ),
    "two patients": (
        [*scan(), ct_image(40, PatientID="SECRET-8")], RefusalCode.MIXED_PATIENTS,
        "The files belong to 2 patients.",
    ),
    "two studies": (
        [*scan(), ct_image(40, **PATIENT, StudyInstanceUID="1.2.3")], RefusalCode.MIXED_STUDIES,
        "The files belong to 2 studies.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SERIES)
def test_images_that_earn_a_refusal(name: str, tmp_path: Path) -> None:
    images, code, sentence = SERIES[name]
    with pytest.raises(Refusal) as caught:
        read(images, tmp_path)
    assert (caught.value.code, caught.value.sentence) == (code, sentence)


def no_dicom(folder: Path) -> None:
    (folder / "letter.txt").write_text("Doe^Jane")
    read_headers(files_below(folder))


def no_such_study(folder: Path) -> None:
    one_study(read_headers(save(scan(2), folder)).headers, "1.2.3")


def no_lungs(folder: Path) -> None:
    body = np.full((12, 16), 1064, np.int16)
    find_lungs(read([ct_image(index, body) for index in range(24)], folder))


def half_a_chest(_: Path) -> None:
    whole = chest()
    refuse_truncated(find_lungs(replace(whole, voxels_hu=whole.voxels_hu[len(whole.voxels_hu) // 2 :])))


@pytest.mark.parametrize(
    ("act", "code", "sentence"),
    [
        (no_dicom, RefusalCode.NOT_DICOM, "None of the 1 file(s) is a DICOM image that can be read."),
        (no_such_study, RefusalCode.STUDY_NOT_FOUND, "The study asked for is not among the files."),
        (no_lungs, RefusalCode.NO_LUNGS, "not a CT of the chest"),
        (half_a_chest, RefusalCode.LUNGS_TRUNCATED, "mm at the feet end."),
    ],
)
def test_files_that_earn_a_refusal(
    act: Callable[[Path], None], code: RefusalCode, sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(Refusal) as caught:
        act(tmp_path)
    assert caught.value.code is code
    assert sentence in caught.value.sentence


@pytest.mark.parametrize("name", SERIES)
def test_a_refusal_names_no_patient(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level("DEBUG"), pytest.raises(Refusal) as caught:
        read(SERIES[name][0], tmp_path)
    decisions = getattr(caught.value, "decisions", ())
    captured = capfd.readouterr()
    words = [str(caught.value), caught.value.remedy, repr(decisions), caplog.text, captured.out, captured.err]
    assert not re.search(r"secret|doe|jane|19500607", " ".join(words), re.IGNORECASE)
