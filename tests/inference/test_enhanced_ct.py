"""Multi-frame CT as vendors write it: concatenations, groups shared or not, conversions, what is left out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage

from inference.dicom_files import read_headers
from inference.errors import RefusalCode, SeriesRefusal
from inference.series import SeriesChoice, choose_series
from inference.volume import CTVolume, read_volume
from tests.inference.enhanced import as_enhanced, put
from tests.inference.synthetic import STUDY, ct_series, save


def numbered(count: int = 60, **tags: Any) -> list[Dataset]:
    """Slices whose pixels say which they are: -1000 HU and one more for each."""
    images = ct_series(count, **tags)
    for k, image in enumerate(images):
        image.PixelData = np.full((12, 16), 24 + k, np.int16).tobytes()
    return images


def read(images: list[Dataset], folder: Path) -> tuple[SeriesChoice, CTVolume]:
    files = read_headers(save(images, folder))
    choice = choose_series(files.headers)
    return choice, read_volume(files.series(choice), only=frozenset(choice.sop_instance_uids))


def slices_of(volume: CTVolume) -> list[int]:
    return [int(plane[0, 0]) + 1000 for plane in volume.voxels_hu]


def concatenation(images: list[Dataset], parts: int) -> list[Dataset]:
    """One image over several instances (PS3.3 C.7.6.16.2.2.4), each with frames from all over the stack."""
    joined = []
    for number in range(parts):
        part = as_enhanced(images[number::parts], uid=f"{STUDY}.5.{number + 1}")
        part.ConcatenationUID = f"{STUDY}.5"
        part.SOPInstanceUIDOfConcatenationSource = f"{STUDY}.6"
        part.InConcatenationNumber, part.InConcatenationTotalNumber = number + 1, parts
        part.ConcatenationFrameOffsetNumber = sum(len(images[k::parts]) for k in range(number))
        joined.append(part)
    return joined


@pytest.mark.parametrize("parts", [2, 3, 7])
def test_a_concatenation_is_one_volume(parts: int, tmp_path: Path) -> None:
    choice, volume = read(concatenation(numbered(), parts), tmp_path)
    assert slices_of(volume) == list(range(60))
    assert len(choice.sop_instance_uids) == parts
    assert volume.spacing_mm == pytest.approx((2.5, 0.8, 0.8))
    assert volume.warnings == choice.warnings == ()


def test_of_a_concatenation_a_part_that_is_missing_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(SeriesRefusal) as caught:
        read(concatenation(numbered(), 7)[1:], tmp_path)
    assert caught.value.code is RefusalCode.MISSING_SLICES


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("sop_class", [EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage])
def test_groups_may_be_shared_or_not(shared: bool, sop_class: str, tmp_path: Path) -> None:
    whole = as_enhanced(numbered(), uid=f"{STUDY}.5", sop_class=sop_class, shared=shared)
    _, volume = read([whole], tmp_path)
    assert slices_of(volume) == list(range(60))
    assert volume.frame_numbers == tuple(range(1, 61))


def test_a_frames_own_group_comes_before_the_shared_one(tmp_path: Path) -> None:
    whole = as_enhanced(numbered(), uid=f"{STUDY}.5")
    put(whole.SharedFunctionalGroupsSequence[0], "PixelValueTransformationSequence.RescaleIntercept", 5000)
    put(whole.SharedFunctionalGroupsSequence[0], "PlanePositionSequence.ImagePositionPatient", [1, 2, 3])
    _, volume = read([whole], tmp_path)
    assert slices_of(volume) == list(range(60))


def test_single_frames_and_a_multi_frame_image_of_one_series_are_one_volume(tmp_path: Path) -> None:
    images = numbered()
    _, volume = read([*images[:25], as_enhanced(images[25:], uid=f"{STUDY}.5")], tmp_path)
    assert slices_of(volume) == list(range(60))
    assert volume.frame_numbers == (*([None] * 25), *range(1, 36))


@pytest.mark.parametrize("absent", [(7,), (7, 40)])
def test_frames_that_are_missing_are_made_up_with_a_warning(absent: tuple[int, ...], tmp_path: Path) -> None:
    images = [image for k, image in enumerate(numbered()) if k not in absent]
    _, volume = read([as_enhanced(images, uid=f"{STUDY}.5")], tmp_path)
    assert slices_of(volume) == list(range(60))
    for k, warning in zip(absent, volume.warnings, strict=True):
        assert f"between z = {-302.5 + 2.5 * k} and {-297.5 + 2.5 * k} mm" in warning


CONVERTED = "UnassignedPerFrameConvertedAttributesSequence"


@pytest.mark.parametrize(
    ("keyword", "values"),
    [
        ("ConvolutionKernel", ("B70f", "B31f")),
        ("AcquisitionNumber", (1, 2)),
        ("AcquisitionTime", ("101010", "102020")),
        ("TriggerTime", (100.0, 200.0)),
        ("TemporalPositionIdentifier", (1, 2)),
        ("KVP", (120, 80)),
    ],
)
def test_what_a_conversion_kept_aside_tells_frames_apart(
    keyword: str, values: tuple[Any, Any], tmp_path: Path
) -> None:
    """Two scans of one place, joined by a converter that had no group for what they differ in."""
    images = numbered(30, ConvolutionKernel="") + numbered(30, ConvolutionKernel="")
    order = np.random.default_rng(6).permutation(60)
    whole = as_enhanced(
        [images[k] for k in order], uid=f"{STUDY}.5", sop_class=LegacyConvertedEnhancedCTImageStorage
    )
    if keyword in whole:
        delattr(whole, keyword)
    for k, groups in zip(order.tolist(), whole.PerFrameFunctionalGroupsSequence, strict=True):
        put(groups, f"{CONVERTED}.{keyword}", values[k // 30])
    # The shared group of a converter is empty where the frames differ.
    del whole.SharedFunctionalGroupsSequence[0].CTReconstructionSequence
    choice, volume = read([whole], tmp_path)
    frames = [int(order[number - 1]) for number in volume.frame_numbers if number is not None]
    assert frames == list(range(30))
    assert "30 image(s)" in choice.warnings[0]


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("CTImageFrameTypeSequence.FrameType", ["DERIVED", "PRIMARY", "VOLUME", "MAXIMUM"], "projection"),
        ("CTImageFrameTypeSequence.VolumeBasedCalculationTechnique", "MAX_IP", "projection"),
        ("CTImageFrameTypeSequence.VolumeBasedCalculationTechnique", "VOLUME_RENDER", "projection"),
        ("CTImageFrameTypeSequence.FrameType", ["ORIGINAL", "PRIMARY", "LOCALIZER", "NONE"], "localizer"),
        ("PixelValueTransformationSequence.RescaleType", "MGML", "not_hounsfield"),
    ],
)
def test_frames_of_another_kind_are_left_out(name: str, value: Any, reason: str, tmp_path: Path) -> None:
    whole = as_enhanced(numbered() + numbered(), uid=f"{STUDY}.5")
    for groups in whole.PerFrameFunctionalGroupsSequence[60:]:
        put(groups, name, value)
    _, volume = read([whole], tmp_path / "mixed")
    assert volume.frame_numbers == tuple(range(1, 61))
    for groups in whole.PerFrameFunctionalGroupsSequence:
        put(groups, name, value)
    with pytest.raises(SeriesRefusal) as caught:
        read([whole], tmp_path / "alone")
    assert [item.reason for item in caught.value.decisions] == [reason]


def test_breaths_in_one_instance_are_told_apart(tmp_path: Path) -> None:
    order = np.random.default_rng(7).permutation(60).tolist()
    images = numbered(30) + numbered(30)
    whole = as_enhanced([images[k] for k in order], uid=f"{STUDY}.5")
    for k, groups in zip(order, whole.PerFrameFunctionalGroupsSequence, strict=True):
        put(
            groups, "RespiratorySynchronizationSequence.NominalPercentageOfRespiratoryPhase", 50.0 * (k // 30)
        )
    _, volume = read([whole], tmp_path)
    assert [order[number - 1] for number in volume.frame_numbers if number is not None] == list(range(30))


Change = Callable[[Dataset], None]


def without_positions(image: Dataset) -> None:
    del image.PerFrameFunctionalGroupsSequence[3].PlanePositionSequence


def without_measures(image: Dataset) -> None:
    del image.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence


def fewer_groups(image: Dataset) -> None:
    image.PerFrameFunctionalGroupsSequence = image.PerFrameFunctionalGroupsSequence[:-1]


def groups_at_the_top(image: Dataset) -> None:
    without_measures(image)
    image.PixelSpacing = [0.8, 0.8]


@pytest.mark.parametrize("change", [without_positions, without_measures, fewer_groups, groups_at_the_top])
def test_frames_of_no_known_place_are_refused(change: Change, tmp_path: Path) -> None:
    whole = as_enhanced(numbered(), uid=f"{STUDY}.5")
    change(whole)
    with pytest.raises(SeriesRefusal) as caught:
        read([whole], tmp_path)
    assert [item.reason for item in caught.value.decisions] == ["no_geometry"]
