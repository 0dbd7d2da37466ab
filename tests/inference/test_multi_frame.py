"""Enhanced and Legacy Converted Enhanced CT: one instance of one scan, or of several."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage

from inference.dicom_files import read_headers
from inference.errors import Refusal, RefusalCode
from inference.series import SeriesChoice, choose_series
from inference.volume import CTVolume, read_volume
from tests.inference.synthetic import ct_image, ct_series, save

Describe = Callable[[int], dict[str, Any]]


def enhanced(
    frames: int = 24,
    describe: Describe = lambda _: {},
    place: Callable[[int], float] = lambda index: -300 + 2.5 * index,
    *,
    sop_class: str = EnhancedCTImageStorage,
    shuffled: bool = True,
) -> Dataset:
    """One multi-frame CT; frame k of the scan has the stored value k, and lies in the file in any order.

    `describe` gives further attributes of a frame, each as "Sequence.Attribute"; `place` its z in mm.
    """
    order = np.random.default_rng(2).permutation(frames) if shuffled else np.arange(frames)
    image = ct_image(0, SOPClassUID=sop_class, ImagePositionPatient=None, RescaleIntercept=None,
                     ImageOrientationPatient=None, PixelSpacing=None, RescaleSlope=None)  # fmt: skip
    image.NumberOfFrames = frames
    image.PixelData = b"".join(np.full((12, 16), index, np.int16).tobytes() for index in order)
    shared = Dataset()
    _put(shared, "PixelMeasuresSequence.PixelSpacing", [0.8, 0.8])
    _put(shared, "PixelMeasuresSequence.SliceThickness", 2.5)
    _put(shared, "PlaneOrientationSequence.ImageOrientationPatient", [1, 0, 0, 0, 1, 0])
    image.SharedFunctionalGroupsSequence = [shared]
    groups = []
    for index in order.tolist():
        group = Dataset()
        _put(group, "PlanePositionSequence.ImagePositionPatient", [-100, -80, place(index)])
        _put(group, "PixelValueTransformationSequence.RescaleSlope", 1)
        _put(group, "PixelValueTransformationSequence.RescaleIntercept", -1000)
        _put(group, "PixelValueTransformationSequence.RescaleType", "HU")
        for name, value in describe(index).items():
            _put(group, name, value)
        groups.append(group)
    image.PerFrameFunctionalGroupsSequence = groups
    return image


def _put(group: Dataset, name: str, value: Any) -> None:
    sequence, keyword = name.split(".")
    if sequence not in group:
        setattr(group, sequence, [Dataset()])
    setattr(getattr(group, sequence)[0], keyword, value)


def read(images: list[Dataset], folder: Path) -> tuple[SeriesChoice, CTVolume]:
    files = read_headers(save(images, folder))
    choice = choose_series(files.headers)
    return choice, read_volume(files.series(choice), only=frozenset(choice.sop_instance_uids))


def frames_of(volume: CTVolume) -> list[int]:
    return [int(plane[0, 0]) + 1000 for plane in volume.voxels_hu]


@pytest.mark.parametrize("sop_class", [EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage])
def test_hundreds_of_frames_are_one_scan(sop_class: str, tmp_path: Path) -> None:
    _, volume = read([enhanced(400, sop_class=sop_class, place=lambda k: -300 + 0.625 * k)], tmp_path)
    assert frames_of(volume) == list(range(400))
    assert volume.spacing_mm == pytest.approx((0.625, 0.8, 0.8))
    assert volume.warnings == ()


TOLD_APART: dict[str, Describe] = {
    "stack": lambda k: {"FrameContentSequence.StackID": str(1 + k // 30)},
    "time": lambda k: {"FrameContentSequence.TemporalPositionIndex": 1 + k // 30},
    "acquisition": lambda k: {"FrameContentSequence.FrameAcquisitionNumber": 1 + k // 30},
    "moment": lambda k: {"FrameContentSequence.FrameAcquisitionDateTime": f"2024010110{k // 30:02}00"},
    "heart": lambda k: {"CardiacSynchronizationSequence.NominalPercentageOfCardiacPhase": 40.0 + k // 30},
    "kernel": lambda k: {"CTReconstructionSequence.ConvolutionKernel": ("B70f", "B31f")[k // 30]},
    "nothing": lambda _: {},
}


@pytest.mark.parametrize(
    ("how", "shift_mm"),
    # What nothing tells apart must lie at the same positions.
    [(how, shift) for how in TOLD_APART for shift in (0.0, 1.0) if not (how == "nothing" and shift)],
)
def test_of_two_phases_in_one_instance_the_first_is_read(how: str, shift_mm: float, tmp_path: Path) -> None:
    both = enhanced(
        60,
        TOLD_APART[how],
        lambda k: -300 + 2.5 * (k % 30) + shift_mm * (k // 30),
        shuffled=how != "nothing",  # without a mark their order in the file alone tells
    )
    choice, volume = read([both], tmp_path)
    assert frames_of(volume) == list(range(30))
    assert choice.warnings == ("30 image(s) of the series belong to another acquisition and were left out.",)


def test_of_two_kernels_in_one_instance_the_lung_kernel_is_read(tmp_path: Path) -> None:
    def kernel(k: int) -> dict[str, Any]:
        return {"CTReconstructionSequence.ConvolutionKernel": ("B31f", "B70f")[k // 30]}

    _, volume = read([enhanced(60, kernel, lambda k: -300 + 2.5 * (k % 30))], tmp_path)
    assert frames_of(volume) == list(range(30, 60))


def test_of_two_stacks_with_a_gap_the_longer_is_read(tmp_path: Path) -> None:
    both = enhanced(
        100,
        lambda k: {"FrameContentSequence.StackID": str(1 + (k >= 20))},
        lambda k: -300 + 2.5 * k + (100 if k >= 20 else 0),
    )
    choice, volume = read([both], tmp_path)
    assert frames_of(volume) == list(range(20, 100))
    assert choice.warnings


def test_a_gap_without_stacks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal) as caught:
        read([enhanced(60, place=lambda k: -300 + 2.5 * k + (50 if k >= 30 else 0))], tmp_path)
    assert caught.value.code is RefusalCode.MISSING_SLICES


def test_frames_that_each_have_a_time_of_their_own_are_one_scan(tmp_path: Path) -> None:
    def moment(k: int) -> dict[str, Any]:
        return {"FrameContentSequence.FrameAcquisitionDateTime": f"20240101100000.{k:06}"}

    _, volume = read([enhanced(60, moment)], tmp_path)
    assert frames_of(volume) == list(range(60))


def test_four_dimensions_in_single_frames_are_told_apart(tmp_path: Path) -> None:
    images = []
    for index, image in enumerate(ct_series(90)):
        time, slice_number = index // 30, index % 30
        image.ImagePositionPatient = [-100.0, -80.0, -300.0 + 2.5 * slice_number]
        image.AcquisitionTime = f"1010{slice_number % 60:02}.{time:06}"
        image.PixelData = np.full((12, 16), 24 + time, np.int16).tobytes()
        images.append(image)
    choice, volume = read(images, tmp_path)
    assert (volume.voxels_hu == -1000).all()
    assert len(volume.voxels_hu) == 30
    assert "60 image(s)" in choice.warnings[0]


def test_a_map_among_the_frames_is_left_out(tmp_path: Path) -> None:
    def unit(k: int) -> dict[str, Any]:
        return {"PixelValueTransformationSequence.RescaleType": "Z_EFF"} if k >= 30 else {}

    _, volume = read([enhanced(60, unit, lambda k: -300 + 2.5 * (k % 30))], tmp_path)
    assert frames_of(volume) == list(range(30))


def test_each_frame_has_its_own_rescale(tmp_path: Path) -> None:
    def rescale(k: int) -> dict[str, Any]:
        return {"PixelValueTransformationSequence.RescaleIntercept": -1000 - k}

    _, volume = read([enhanced(30, rescale)], tmp_path)
    assert (volume.voxels_hu == -1000).all()
    assert set(volume.frame_numbers) == set(range(1, 31))


@pytest.mark.parametrize("frames", [10**9, 23, 25, 0, -1])
def test_a_number_of_frames_that_lies_is_no_geometry(frames: int, tmp_path: Path) -> None:
    image = enhanced()
    image.NumberOfFrames = frames
    with pytest.raises(Refusal) as caught:
        read([image], tmp_path)
    assert caught.value.code is RefusalCode.NO_CT_SERIES
