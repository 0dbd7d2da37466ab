"""The right series out of all that a study holds, in the words of the vendors' headers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    EnhancedCTImageStorage,
    EnhancedSRStorage,
    PositronEmissionTomographyImageStorage,
    SecondaryCaptureImageStorage,
    XRayRadiationDoseSRStorage,
)

from inference.errors import RefusalCode, SeriesRefusal
from inference.instance_header import InstanceHeader
from inference.series import SeriesChoice, choose_series
from tests.inference.synthetic import ct_series, decision_of

AXIAL = ["ORIGINAL", "PRIMARY", "AXIAL"]
CORONAL = [1, 0, 0, 0, 0, -1]
SAGITTAL = [0, 1, 0, 0, 0, -1]
WIDE, NARROW = [30.0, 30.0], [12.0, 12.0]  # of 12 x 16 pixels: fields of 480 and of 192 mm


def choose(images: list[Dataset]) -> SeriesChoice:
    order = np.random.default_rng(3).permutation(len(images))
    return choose_series([InstanceHeader.from_dataset(images[index]) for index in order])


def series(name: str, count: int = 120, **tags: Any) -> list[Dataset]:
    return ct_series(count, **{"series": name, "SeriesNumber": int(name), "spacing": (30.0, 30.0), **tags})


def assert_chosen(study: dict[str, tuple[list[Dataset], str]]) -> None:
    """That the series of which "chosen" is expected is, and that each other has its reason and a sentence."""
    choice = choose([image for images, _ in study.values() for image in images])
    found = {name: decision_of(choice.decisions, name) for name in study}
    assert {name: item.reason for name, item in found.items()} == {
        name: reason for name, (_, reason) in study.items()
    }
    assert all(item.sentence.endswith(".") and item.instances for item in found.values())


def test_a_trauma_study() -> None:
    """Head, spine, chest and trunk, each with its kernels, reformats, projections and pages, and a PET."""
    assert_chosen({
        "1": (series("1", 2, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER", "CT_SOM7 TOP"],
                     ImageOrientationPatient=CORONAL), "localizer"),
        "2": (series("2", 60, SeriesDescription="Head 3.0 Hr40", BodyPartExamined="HEAD",
                     ConvolutionKernel="Hr40f", PixelSpacing=[14.0, 14.0]), "other_body_part"),
        "3": (series("3", 100, SeriesDescription="C-SPINE 1.0 Br60", ConvolutionKernel="Br60d",
                     PixelSpacing=NARROW), "other_body_part"),
        "4": (series("4", SeriesDescription="THORACIC SPINE 2.0", BodyPartExamined="CHEST",
                     ConvolutionKernel="Br60d", PixelSpacing=NARROW), "other_body_part"),
        "5": (series("5", SeriesDescription="Thorax 5.0 Br40", ConvolutionKernel="Br40d",
                     SliceThickness=5.0), "kernel"),
        "6": (series("6", SeriesDescription="Thorax 1.0 Bl57", ConvolutionKernel="Bl57d"), "chosen"),
        "7": (series("7", SeriesDescription="Thorax 3.0 Bl57", ConvolutionKernel="Bl57d",
                     SliceThickness=3.0), "thicker"),
        "8": (series("8", SeriesDescription="Thorax MIP 8.0", ImageType=["DERIVED", "SECONDARY", "AXIAL"]),
              "projection"),
        "9": (series("9", ImageType=["DERIVED", "SECONDARY", "AXIAL", "CT_SOM7 MIP"]), "projection"),
        "10": (series("10", SeriesDescription="Cor 3.0", ImageType=["DERIVED", "SECONDARY", "MPR"],
                      ImageOrientationPatient=CORONAL), "not_axial"),
        "11": (series("11", SeriesDescription="Sag 3.0", ImageOrientationPatient=SAGITTAL), "not_axial"),
        "12": (series("12", SeriesDescription="Abd/Pel 1.0 Br36", BodyPartExamined="ABDOMEN",
                      ConvolutionKernel="Br36d"), "other_body_part"),
        "13": (series("13", 1, ImageType=["DERIVED", "SECONDARY", "OTHER", "CT_SOM7 PROT"]), "dose_screen"),
        "14": (series("14", 1, SOPClassUID=XRayRadiationDoseSRStorage, Modality="SR"), "not_ct"),
        "15": (series("15", 1, SOPClassUID=SecondaryCaptureImageStorage, SamplesPerPixel=3), "not_ct"),
        "16": (series("16", SOPClassUID=PositronEmissionTomographyImageStorage, Modality="PT"), "not_ct"),
        "17": (series("17", ImageType=["DERIVED", "SECONDARY", "AXIAL", "VNC"]), "not_hounsfield"),
        "18": (series("18", 8, ConvolutionKernel="Br40d"), "too_few_slices"),
        "19": (series("19", SOPClassUID=EnhancedSRStorage, Modality="SR"), "not_ct"),
    })  # fmt: skip


def test_a_field_that_holds_one_lung_is_a_part_of_the_body() -> None:
    assert_chosen({
        "1": (series("1", ConvolutionKernel="LUNG", PixelSpacing=NARROW), "partial_coverage"),
        "2": (series("2", ConvolutionKernel="STANDARD", PixelSpacing=WIDE), "chosen"),
    })  # fmt: skip


def test_a_childs_chest_beside_its_own_trunk_is_whole() -> None:
    assert_chosen({
        "1": (series("1", 60, ConvolutionKernel="LUNG", PixelSpacing=[14.0, 14.0]), "chosen"),
        "2": (series("2", 80, ConvolutionKernel="STANDARD", PixelSpacing=[15.0, 15.0]), "kernel"),
    })  # fmt: skip


EXCLUDED = {
    "localizer": (
        "ORIGINAL/PRIMARY/SCOUT", "DERIVED/SECONDARY/OTHER/CT_SOM5 TOP", "ORIGINAL/PRIMARY/LOCALIZER/SURVIEW",
    ),
    "dose_screen": (
        "DERIVED/SECONDARY/SCREEN SAVE", "DERIVED/SECONDARY/OTHER/DOSE_INFO",
        "DERIVED/SECONDARY/OTHER/CT_SOM5 PROT",
    ),
    "projection": (
        "DERIVED/SECONDARY/AXIAL/CT_SOM5 MIP", "DERIVED/SECONDARY/MPR/THICK MIP", "DERIVED/SECONDARY/MINIP",
        "DERIVED/SECONDARY/REFORMATTED/MIN IP", "DERIVED/SECONDARY/AXIAL/VOLUME_RENDER",
        "DERIVED/SECONDARY/CT_SOM5 VRT", "DERIVED/SECONDARY/PROJECTION IMAGE", "DERIVED/SECONDARY/VOLREN",
        "DERIVED/PRIMARY/VOLUME/MAXIMUM", "DERIVED/SECONDARY/CURVED_MPR",
    ),
    "not_hounsfield": (
        "DERIVED/PRIMARY/PERFUSION/RCBF", "DERIVED/SECONDARY/AXIAL/CT_SOM5 SUB",
        "DERIVED/PRIMARY/AXIAL/STD_DEVIATION", "DERIVED/PRIMARY/AXIAL/MAT_SPECIFIC",
        "DERIVED/PRIMARY/AXIAL/DUAL_ENERGY/IODINE_MAP", "DERIVED/PRIMARY/AXIAL/EFF_ATOMIC_NUM",
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("reason", "image_type"), [(reason, kind) for reason, kinds in EXCLUDED.items() for kind in kinds]
)
def test_image_types_that_are_no_slices(reason: str, image_type: str) -> None:
    with pytest.raises(SeriesRefusal) as caught:
        choose(series("1", 30, ImageType=image_type.split("/")))
    assert caught.value.code is RefusalCode.NO_CT_SERIES
    assert [item.reason for item in caught.value.decisions] == [reason]


@pytest.mark.parametrize(
    "image_type",
    [
        AXIAL,
        ["ORIGINAL", "PRIMARY", "AXIAL", "HELIX"],
        ["ORIGINAL", "PRIMARY", "AXIAL", "CT_SOM5 SPI"],
        ["ORIGINAL", "PRIMARY", "AXIAL", "CT_SOM7 SPI DUAL"],
        ["ORIGINAL", "PRIMARY", "AXIAL", "ADD"],
        ["ORIGINAL", "PRIMARY", "OTHER"],
        ["DERIVED", "SECONDARY", "REFORMATTED", "AVERAGE"],
        ["DERIVED", "SECONDARY", "AXIAL", "CT_SOM5 MPR"],
        ["DERIVED", "PRIMARY", "AXIAL", "VMI"],
        None,
    ],
)
def test_image_types_of_slices(image_type: list[str] | None) -> None:
    assert len(choose(series("1", 30, ImageType=image_type)).sop_instance_uids) == 30


@pytest.mark.parametrize(
    "description",
    [
        "MIP 10x2",
        "AX_MIP",
        "Lung MIPs",
        "thorax minip",
        "VRT Thorax",
        "Chest 3D Rendering",
        "Curved MPR",
        "МИП",
    ],
)
def test_a_description_of_a_projection(description: str) -> None:
    assert_chosen({
        "1": (series("1", ConvolutionKernel="LUNG", SeriesDescription=description), "projection"),
        "2": (series("2", ConvolutionKernel="B31f", SeriesDescription="ABDOMEN"), "chosen"),
    })  # fmt: skip


@pytest.mark.parametrize(
    "description",
    ["THORACIC SPINE", "T-Spine 2.0", "BWS axial", "Thorax Wirbelsäule", "Грудной отдел позвоночника"],
)
def test_the_spine_of_the_chest_is_not_the_chest(description: str) -> None:
    assert_chosen({
        "1": (series("1", SeriesDescription=description), "other_body_part"),
        "2": (series("2", ConvolutionKernel="B31f", SeriesDescription="Thorax"), "chosen"),
    })  # fmt: skip


def test_unsigned_values_without_a_rescale_are_no_hounsfield_units() -> None:
    bare = {"RescaleSlope": None, "RescaleIntercept": None}
    with pytest.raises(SeriesRefusal) as caught:
        choose(series("1", 30, PixelRepresentation=0, **bare))
    assert [item.reason for item in caught.value.decisions] == ["no_rescale"]
    assert "stored values" in caught.value.decisions[0].sentence
    signed = choose(series("1", 30, PixelRepresentation=1, **bare))
    assert "taken for Hounsfield units" in signed.warnings[0]


@pytest.mark.parametrize("unit", ["OD", "Z_EFF", "MGML", "PCT", "ED", "mg/ml"])
def test_other_units_are_not_hounsfield_units(unit: str) -> None:
    with pytest.raises(SeriesRefusal) as caught:
        choose(series("1", 30, RescaleType=unit))
    assert [item.reason for item in caught.value.decisions] == ["not_hounsfield"]


@pytest.mark.parametrize(("unit", "warned"), [("HU", 0), ("hu ", 0), ("", 0), ("HU_MOD", 0), ("US", 1)])
def test_units_that_are_taken_for_hounsfield_units(unit: str, warned: int) -> None:
    assert len(choose(series("1", 30, RescaleType=unit)).warnings) == warned


def test_numbers_may_be_written_with_spaces_and_exponents() -> None:
    images = series("1", 30)
    for k, image in enumerate(images):
        image.PixelSpacing = ["3.0E1 ", " 30.00"]
        image.ImagePositionPatient = [" -1.0e+02", "-80.000000 ", f"{-300 + 2.5 * k:+.6e}"]
        image.ImageOrientationPatient = ["1.0e0", "0", "-0.0", "0", " 1", "0E0"]
    choice = choose(images)
    assert choice.sop_instance_uids == tuple(image.SOPInstanceUID for image in images)
    assert "2.50 mm apart" in choice.decisions[0].sentence


def test_images_without_a_position_are_not_placed_by_their_slice_location() -> None:
    with pytest.raises(SeriesRefusal) as caught:
        choose(series("1", 30, ImagePositionPatient=None, SliceLocation=12.5))
    assert [item.reason for item in caught.value.decisions] == ["no_geometry"]
    assert "where the images lie" in caught.value.decisions[0].sentence


def test_the_class_alone_makes_no_multi_frame_image() -> None:
    with pytest.raises(SeriesRefusal) as caught:
        choose(series("1", 30, SOPClassUID=EnhancedCTImageStorage))
    assert [item.reason for item in caught.value.decisions] == ["no_geometry"]
