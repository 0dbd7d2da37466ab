"""Phases, repetitions, energies and copies within one series: told apart, and one of them read whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from inference.errors import RefusalCode, SeriesRefusal
from inference.instance_header import InstanceHeader
from inference.series import SeriesChoice, choose_series
from tests.inference.synthetic import STUDY, ct_image

SLICES = 30


def scan(
    name: str, slices: Iterable[int] = range(SLICES), shift_mm: float = 0.0, **tags: Any
) -> list[Dataset]:
    """Slices 2.5 mm apart, their UIDs ending with the slice and the scan; a callable tag is of a slice."""
    images = []
    for k in slices:
        own = {"InstanceNumber": 1 + k + 100 * int(name), **tags}
        own = {keyword: value(k) if callable(value) else value for keyword, value in own.items()}
        # Its UID, as that of a scanner, says nothing about the order of slices or scans.
        place_in_order = (k * 7 + int(name) * 11) % 97
        image = ct_image(place_in_order, position=(-100.0, -80.0, -300.0 + 2.5 * k + shift_mm), **own)
        image.SOPInstanceUID = f"{STUDY}.1.{place_in_order}.{k}.{name}"
        images.append(image)
    return images


def choose(images: list[Dataset], seed: int = 1) -> SeriesChoice:
    order = np.random.default_rng(seed).permutation(len(images))
    return choose_series([InstanceHeader.from_dataset(images[index]) for index in order])


def read(images: list[Dataset]) -> list[tuple[str, int]]:
    """Scan and slice of each chosen image, in the order of the volume."""
    uids = [uid.split(".") for uid in choose(images).sop_instance_uids]
    return [(uid[-1], int(uid[-2])) for uid in uids]


def whole(name: str, slices: Iterable[int] = range(SLICES)) -> list[tuple[str, int]]:
    return [(name, k) for k in slices]


def phases(count: int, tags: Callable[[int], dict[str, Any]]) -> list[Dataset]:
    return [image for phase in range(count) for image in scan(str(phase), **tags(phase))]


FOUR_DIMENSIONS: dict[str, Callable[[int], dict[str, Any]]] = {
    "temporal position": lambda p: {"TemporalPositionIdentifier": p + 1},
    "trigger time": lambda p: {"TriggerTime": 100.0 * p},
    "heart": lambda p: {"NominalPercentageOfCardiacPhase": 10.0 * p, "InstanceNumber": None},
    "breath": lambda p: {"NominalPercentageOfRespiratoryPhase": 10.0 * p, "InstanceNumber": None},
    "acquisition number": lambda p: {"AcquisitionNumber": p + 1, "InstanceNumber": None},
    "acquisition time of each slice": lambda p: {"AcquisitionTime": lambda k: f"10{p:02}{k:02}"},
    # The table goes up and down by turns.
    "acquisition time, there and back": lambda p: {
        "AcquisitionTime": lambda k: f"10{p:02}{k if p % 2 == 0 else SLICES - 1 - k:02}"
    },
    "acquisition date and time": lambda p: {"AcquisitionDateTime": lambda k: f"2024010110{p:02}{k:02}.5"},
    "content time alone": lambda p: {"ContentTime": lambda k: f"10{p:02}{k:02}", "InstanceNumber": 1},
    "numbers, phase by phase": lambda p: {"InstanceNumber": lambda k: 1 + p * SLICES + k},
    # Cine: all moments of one position, then the next one.
    "numbers, place by place": lambda p: {"InstanceNumber": lambda k: 1 + k * 3 + p},
    "numbers that begin anew": lambda p: {
        "InstanceNumber": lambda k: 1 + k, "ContentTime": lambda k: f"10{p:02}{k:02}"
    },
}  # fmt: skip


@pytest.mark.parametrize("how", FOUR_DIMENSIONS)
def test_of_several_phases_the_first_is_read_whole(how: str) -> None:
    images = phases(3, FOUR_DIMENSIONS[how])
    assert read(images) == whole("0")
    assert "60 image(s) of the series belong to another acquisition" in choose(images).warnings[0]


@pytest.mark.parametrize("how", FOUR_DIMENSIONS)
def test_the_choice_of_a_phase_does_not_depend_on_the_order_of_arrival(how: str) -> None:
    images = phases(3, FOUR_DIMENSIONS[how])
    assert len({choose(images, seed).sop_instance_uids for seed in range(3)}) == 1


TWICE: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "arterial and venous": (
        {"AcquisitionNumber": 2, "AcquisitionTime": "101500"},
        {"AcquisitionNumber": 3, "AcquisitionTime": "101600"},
    ),
    "two tube voltages": ({"KVP": 140, "AcquisitionNumber": 3}, {"KVP": 80, "AcquisitionNumber": 2}),
    "two kernels": ({"ConvolutionKernel": "Br60f"}, {"ConvolutionKernel": "Br36f"}),
    "two coordinate systems": (
        {"FrameOfReferenceUID": "1.2.3.1"},
        {"FrameOfReferenceUID": "1.2.3.2", "AcquisitionTime": "1011"},
    ),
    "two thicknesses": ({"SliceThickness": 2.5}, {"SliceThickness": 5.0}),
    "slices and their projection": (
        {"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"]},
        {"ImageType": ["DERIVED", "SECONDARY", "AXIAL", "CT_SOM7 MIP"]},
    ),
    "original and average": (
        {"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"]},
        {"ImageType": ["DERIVED", "SECONDARY", "REFORMATTED", "AVERAGE"]},
    ),
    "two matrices": ({"AcquisitionTime": "1010"}, {"AcquisitionTime": "1011", "Rows": 16, "Columns": 12}),
    "two fields of view": ({}, {"PixelSpacing": [0.5, 0.5]}),
}


@pytest.mark.parametrize("shift_mm", [0.0, 0.9, 1.25])
@pytest.mark.parametrize("how", TWICE)
def test_of_two_reconstructions_or_scans_one_is_read_whole(how: str, shift_mm: float) -> None:
    first, second = TWICE[how]
    assert read(scan("1", **first) + scan("2", shift_mm=shift_mm, **second)) == whole("1")


@pytest.mark.parametrize(
    "tags",
    [
        {"AcquisitionTime": lambda k: f"1010{k % 2:02}"},
        {"AcquisitionNumber": lambda k: 1 + k % 2},
        {"AcquisitionNumber": lambda k: None if k % 2 else 1},
        {"AcquisitionNumber": lambda k: 1 + k % 2, "AcquisitionTime": lambda k: f"1010{k % 2:02}"},
        {"AcquisitionTime": lambda k: f"1010{k % 3:02}"},
        {"AcquisitionNumber": lambda k: 1 + k},
        {"AcquisitionNumber": lambda k: 1 + k // 4, "AcquisitionTime": lambda k: f"10{k // 4:02}00"},
        {"ContentTime": lambda k: f"10{k % 7:02}00"},
        {"KVP": lambda k: 120 + (k == 4), "SliceThickness": lambda k: 2.5 + 0.01 * (k == 7)},
        {"InstanceNumber": lambda k: (k * 31) % 90, "SliceLocation": lambda k: 900.0 - 2.5 * k},
    ],
)
def test_the_rotations_of_one_scan_are_one_volume(tags: dict[str, Any]) -> None:
    """Each lies edge to edge with the next, whatever moment and number it has."""
    images = scan("1", range(90), **tags)
    assert read(images) == whole("1", range(90))
    assert choose(images).warnings == ()


def test_overlapping_slices_are_one_volume() -> None:
    assert read(scan("1", range(60), SliceThickness=5.0)) == whole("1", range(60))


def test_two_scans_of_overlapping_slices_are_told_apart() -> None:
    tags = {"SliceThickness": 5.0}
    images = scan("1", AcquisitionNumber=1, **tags) + scan("2", shift_mm=1.0, AcquisitionNumber=2, **tags)
    assert read(images) == whole("1")


PARTLY = {
    "acquisition number": {"AcquisitionNumber": 2},
    "acquisition time": {"AcquisitionTime": "103000"},
    "nothing but its number": {"InstanceNumber": lambda k: 500 + k},
}


@pytest.mark.parametrize("how", PARTLY)
@pytest.mark.parametrize("shift_mm", [0.0, 1e-3, 0.04])
def test_a_scan_of_which_a_part_was_repeated_is_read_once(how: str, shift_mm: float) -> None:
    repeated = scan("2", range(8, 18), shift_mm, **PARTLY[how])
    images = scan("1", range(40), AcquisitionTime="101000") + repeated
    assert read(images) == whole("1", range(40))
    assert "10 image(s)" in choose(images).warnings[0]


def test_two_scans_that_overlap_at_their_ends_are_two() -> None:
    lower = scan("1", range(40), AcquisitionNumber=1)
    upper = scan("2", range(36, 80), 1.1, AcquisitionNumber=2)
    assert read(lower + upper) == whole("2", range(36, 80))  # the longer one


def test_two_coordinate_systems_explain_a_gap() -> None:
    lower = scan("1", range(40), FrameOfReferenceUID="1.2.3.1")
    upper = scan("2", range(60, 90), FrameOfReferenceUID="1.2.3.2")
    assert read(lower + upper) == whole("1", range(40))


def test_a_coordinate_system_for_each_image_is_a_mistake() -> None:
    assert read(scan("1", FrameOfReferenceUID=lambda k: f"1.2.3.{k + 1}")) == whole("1")


@pytest.mark.parametrize("jitter_mm", [0.0, 1e-3])
@pytest.mark.parametrize("offset_mm", [0.0, 0.0499, 0.05])
def test_copies_under_other_uids_count_once(jitter_mm: float, offset_mm: float) -> None:
    """Wherever the places lie: no rounding of theirs may tear copies apart."""
    first = scan("1", shift_mm=offset_mm)
    second = scan("2", shift_mm=offset_mm + jitter_mm, InstanceNumber=lambda k: 1000 + k)
    assert read(first + second) == whole("1")


def test_one_copy_of_one_slice_counts_once() -> None:
    images = scan("1") + scan("2", [11], InstanceNumber=900)
    assert read(images) == whole("1")


def test_one_slice_of_another_matrix_is_left_out() -> None:
    images = scan("1", Rows=lambda k: 24 if k == 9 else 12, Columns=lambda k: 8 if k == 9 else 16)
    assert [k for _, k in read(images)] == [k for k in range(SLICES) if k != 9]
    assert "1 image(s)" in choose(images).warnings[0]


def test_a_cine_at_a_few_places_is_no_volume() -> None:
    images = [
        image for moment in range(20) for image in scan(str(moment), range(8), TriggerTime=float(moment))
    ]
    with pytest.raises(SeriesRefusal) as caught:
        choose(images)
    assert caught.value.code is RefusalCode.MIXED_GEOMETRY
