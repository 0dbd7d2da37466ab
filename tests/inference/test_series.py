from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    EnhancedSRStorage,
    PositronEmissionTomographyImageStorage,
    SecondaryCaptureImageStorage,
)

from inference.dicom_files import files_below, read_headers
from inference.errors import RefusalCode, SeriesRefusal
from inference.instance_header import InstanceHeader
from inference.series import SeriesChoice, choose_series
from tests.inference.synthetic import STUDY, ct_image, ct_series, decision_of


def choose(images: list[Dataset]) -> SeriesChoice:
    """The choice out of images that arrive in no order."""
    order = np.random.default_rng(1).permutation(len(images))
    return choose_series([InstanceHeader.from_dataset(images[index]) for index in order])


def refusal(images: list[Dataset]) -> SeriesRefusal:
    with pytest.raises(SeriesRefusal) as caught:
        choose(images)
    return caught.value


def series(name: str, count: int = 30, **tags: Any) -> list[Dataset]:
    return ct_series(count, series=name, **tags)


def chosen(choice: SeriesChoice) -> str:
    assert [item.series_uid for item in choice.decisions if item.chosen] == [choice.series_uid]
    return choice.series_uid.removeprefix(f"{STUDY}.")


def test_the_images_are_in_slice_order() -> None:
    choice = choose(series("1"))
    assert choice.sop_instance_uids == tuple(f"{STUDY}.1.{index + 1}" for index in range(30))
    assert decision_of(choice.decisions, "1").sentence == (
        "Original axial series, lung kernel, 30 slices 2.50 mm apart."
    )


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"ConvolutionKernel": "B31f"}, "kernel"),
        ({"ConvolutionKernel": None}, "kernel"),
        ({"ImageType": ["DERIVED", "SECONDARY", "AXIAL"]}, "derived"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL", "MPR"]}, "derived"),
        ({"BodyPartExamined": "ABDOMEN"}, "other_body_part"),
        ({"SliceThickness": 5.0}, "thicker"),
        ({"SeriesNumber": 2}, "equivalent"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "localizer"),
        ({"ImageType": ["DERIVED", "SECONDARY", "AXIAL", "MIP"]}, "projection"),
        ({"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, "dose_screen"),
        ({"SOPClassUID": SecondaryCaptureImageStorage, "Modality": "OT"}, "not_ct"),
        ({"SOPClassUID": PositronEmissionTomographyImageStorage, "Modality": "PT"}, "not_ct"),
        ({"SOPClassUID": EnhancedSRStorage, "Modality": "SR"}, "not_ct"),
        ({"SamplesPerPixel": 3}, "colour"),
        ({"RescaleType": "Z_EFF"}, "not_hounsfield"),
        ({"ImagePositionPatient": None}, "no_geometry"),
        ({"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}, "not_axial"),
    ],
)
def test_why_the_other_series_is_not_chosen(other: dict[str, Any], reason: str) -> None:
    choice = choose(series("1") + series("2", **other))
    assert chosen(choice) == "1"
    decision = decision_of(choice.decisions, "2")
    assert (decision.reason, decision.instances, decision.chosen) == (reason, 30, False)
    assert decision.sentence.endswith(".")


def test_a_chest_beside_a_longer_scan_of_the_trunk_is_not_partial() -> None:
    choice = choose(series("1", 110, ConvolutionKernel="B60f") + series("2", 260, ConvolutionKernel="B30f"))
    assert (chosen(choice), decision_of(choice.decisions, "2").reason) == ("1", "kernel")


def test_slices_far_apart_are_not_preferred_for_their_kernel() -> None:
    sparse = series("2", 25, step_mm=10.0, SliceThickness=1.0)
    choice = choose(series("1", 100, ConvolutionKernel="B30f") + sparse)
    assert (chosen(choice), decision_of(choice.decisions, "2").reason) == ("1", "sparse")


@pytest.mark.parametrize(
    ("own", "other"),
    [
        ({"SeriesDescription": "Chest 5.0 B40f"}, {"SeriesDescription": "Abd/Pelvis 5.0 B40f"}),
        ({"SeriesDescription": "ОГК 1.0"}, {"SeriesDescription": "Брюшная полость 1.0"}),
        # The protocol's body part is that of neither series.
        (
            {"SeriesDescription": "Lung 1.0", "BodyPartExamined": "ABDOMEN"},
            {"SeriesDescription": "Brain", "BodyPartExamined": "CHEST"},
        ),
    ],
)
def test_a_series_words_tell_the_region(own: dict[str, str], other: dict[str, str]) -> None:
    choice = choose(series("1", SeriesNumber=9, **own) + series("2", 60, **other))
    assert (chosen(choice), decision_of(choice.decisions, "2").reason) == ("1", "other_body_part")


def test_a_short_series_is_not_preferred_for_its_kernel() -> None:
    choice = choose(series("1", 100, ConvolutionKernel="STANDARD") + series("2", 30))
    assert (chosen(choice), decision_of(choice.decisions, "2").reason) == ("1", "partial_coverage")


def test_a_complete_series_is_preferred() -> None:
    gap = [image for image in series("2") if image.InstanceNumber != 9]
    choice = choose(series("1", ConvolutionKernel="STANDARD") + gap)
    assert (chosen(choice), decision_of(choice.decisions, "2").reason) == ("1", "incomplete")


def test_the_choice_does_not_depend_on_the_order_of_arrival() -> None:
    headers = [InstanceHeader.from_dataset(image) for image in series("1") + series("2") + series("3")]
    orders = [np.random.default_rng(seed).permutation(len(headers)) for seed in range(5)]
    assert (
        len({choose_series([headers[index] for index in order]).sop_instance_uids for order in orders}) == 1
    )


def test_an_instance_that_came_twice_counts_once() -> None:
    assert len(choose(series("1") + series("1")).sop_instance_uids) == 30


@pytest.mark.parametrize(
    "second",
    [
        {"AcquisitionNumber": 2},
        {"ConvolutionKernel": "B31f"},
        {"TemporalPositionIdentifier": 2},
        {"AcquisitionTime": "101010"},
        {"InstanceNumber": 500},
    ],
)
def test_two_acquisitions_in_one_series_are_split(second: dict[str, Any]) -> None:
    first = series("1")
    other = [ct_image(index, **second) for index in range(30)]
    for index, image in enumerate(other):
        image.SOPInstanceUID = f"{STUDY}.1.{900 + index}"
    choice = choose(first + other)
    assert choice.sop_instance_uids == tuple(image.SOPInstanceUID for image in first)
    assert "30 image(s) of the series belong to another acquisition" in choice.warnings[0]


def second_scan(shift_mm: float, **tags: Any) -> list[Dataset]:
    """Another scan of the same patient in the same series, a little higher."""
    images = [ct_image(k, position=(-100.0, -80.0, -300.0 + shift_mm + 2.5 * k), **tags) for k in range(30)]
    for index, image in enumerate(images):
        image.SOPInstanceUID = f"{STUDY}.1.{900 + index}"
    return images


@pytest.mark.parametrize("shift_mm", [0.02, 0.7, 1.25])
@pytest.mark.parametrize(
    "tags", [{"AcquisitionNumber": 2}, {"ConvolutionKernel": "B31f"}, {"AcquisitionTime": "101010"}]
)
def test_two_scans_that_lie_within_each_other_are_never_one_volume(
    shift_mm: float, tags: dict[str, Any]
) -> None:
    first = series("1")
    choice = choose(first + second_scan(shift_mm, **tags))
    assert choice.sop_instance_uids == tuple(image.SOPInstanceUID for image in first)


def test_two_kernels_of_two_acquisitions_in_one_series_are_split() -> None:
    first = series("1")
    others = [
        second_scan(0.0, AcquisitionNumber=number, ConvolutionKernel=kernel)
        for number, kernel in ((1, "B31f"), (2, "B70f"), (2, "B31f"))
    ]
    for number, images in enumerate(others):
        for image in images:
            image.SOPInstanceUID += f".{number}"
    choice = choose([*first, *(image for images in others for image in images)])
    assert choice.sop_instance_uids == tuple(image.SOPInstanceUID for image in first)


def test_a_scan_in_parts_that_follow_each_other_stays_whole() -> None:
    halves = ct_series(60, lambda index: {"AcquisitionNumber": 1 + index // 30, "KVP": 100 + index // 30})
    assert len(choose(halves).sop_instance_uids) == 60


def test_a_gap_is_not_explained_by_what_changes_there() -> None:
    halves = ct_series(60, lambda index: {"AcquisitionTime": f"1010{index // 30:02d}"})
    assert refusal(halves[:28] + halves[32:]).code is RefusalCode.MISSING_SLICES


def test_rounding_of_the_orientation_does_not_split_a_series() -> None:
    cosines = (
        [0.985001, 0.172544, 0, -0.172544, 0.985001, 0],
        [0.984999, 0.172556, 0, -0.172556, 0.984999, 0],
    )
    images = ct_series(40, lambda index: {"ImageOrientationPatient": cosines[index % 2]})
    assert len(choose(images).sop_instance_uids) == 40


@pytest.mark.parametrize(
    "tags",
    [
        {"PixelSpacing": [1e6, 1e6]},
        {"PixelSpacing": [1e-6, 1e-6]},
        {"ImagePositionPatient": [1e300, 0, 0]},
        {"Rows": 65535, "Columns": 65535},
    ],
)
def test_geometry_that_no_scanner_has_is_no_geometry(tags: dict[str, Any]) -> None:
    found = refusal(series("1", **tags))
    assert [item.reason for item in found.decisions] == ["no_geometry"]


def test_a_scout_within_the_series_is_left_aside() -> None:
    scout = ct_image(500, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    assert len(choose([*series("1"), scout]).sop_instance_uids) == 30


@pytest.mark.parametrize(
    ("images", "code"),
    [
        (series("1", 19), RefusalCode.TOO_FEW_SLICES),
        (series("1", ImageOrientationPatient=[1, 0, 0, 0, 0, -1]), RefusalCode.NOT_AXIAL),
        (series("1", ImageOrientationPatient=[1, 0, 0, 0, 0.82, -0.5723]), RefusalCode.GANTRY_TILT),
        ([image for image in series("1", 40) if image.InstanceNumber % 9], RefusalCode.MISSING_SLICES),
        (series("1", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), RefusalCode.NO_CT_SERIES),
        (series("1", Modality="MR"), RefusalCode.NO_CT_SERIES),
        ([], RefusalCode.NO_CT_SERIES),
    ],
)
def test_a_study_without_a_readable_series_is_refused(images: list[Dataset], code: RefusalCode) -> None:
    found = refusal(images)
    assert found.code is code
    assert found.remedy
    assert all(not item.chosen for item in found.decisions)


def test_mixed_geometry_that_nothing_explains_is_refused() -> None:
    heights = np.cumsum([0.0, *([2.0, 2.9, 2.0] * 8)])
    images = [ct_image(index, position=(0.0, 0.0, float(z))) for index, z in enumerate(heights)]
    assert refusal(images).code is RefusalCode.MIXED_GEOMETRY


def test_the_refusal_is_that_of_the_series_that_came_nearest() -> None:
    found = refusal(series("1", 12) + series("2", Modality="MR"))
    assert found.code is RefusalCode.TOO_FEW_SLICES
    assert {item.reason for item in found.decisions} == {"too_few_slices", "not_ct"}


def test_of_two_kernels_of_a_real_study_the_lung_kernel_is_chosen(ct_data: Path) -> None:
    files = read_headers(files_below(ct_data / "ct" / "lung-dx-a0001-philips"))
    choice = choose_series(files.headers)
    assert len(choice.sop_instance_uids) == 64
    assert {path.parent.name for path in files.series(choice)} == {"kernel-a"}
    assert [item.reason for item in choice.decisions] == ["chosen", "kernel"]


@pytest.mark.parametrize(
    ("folder", "code"),
    [
        ("gantry-tilt-ge", RefusalCode.MISSING_SLICES),
        ("nonsquare-reformats", RefusalCode.NOT_AXIAL),
        ("localizers", RefusalCode.NO_CT_SERIES),
    ],
)
def test_awkward_real_studies(ct_data: Path, folder: str, code: RefusalCode) -> None:
    files = read_headers(files_below(ct_data / "fixtures" / folder))
    with pytest.raises(SeriesRefusal) as caught:
        choose_series(files.headers)
    assert caught.value.code is code


def test_images_without_a_place_are_counted_aloud() -> None:
    images = [*ct_series(30), ct_image(40, ImagePositionPatient=None)]
    (warning,) = choose(images).warnings
    assert warning.startswith("1 image(s) of the series do not say where they lie")


def test_several_frames_against_the_class_are_no_slice() -> None:
    with pytest.raises(SeriesRefusal) as caught:
        choose(ct_series(30, NumberOfFrames=2))
    assert [decision.reason for decision in caught.value.decisions] == ["no_geometry"]
