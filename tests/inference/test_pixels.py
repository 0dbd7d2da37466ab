from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from inference.pixels import DecodedFrame, decode_frames, hounsfield
from tests.inference.synthetic import ct_image, save


def decoded(path: Path) -> DecodedFrame:
    (frame,) = decode_frames(path, [0])
    return frame


def hu(path: Path) -> np.ndarray:
    frame = decoded(path)
    assert frame.problem == ""
    assert frame.hu is not None
    return frame.hu


def test_no_malformed_file_raises(ct_data: Path) -> None:
    for path in sorted((ct_data / "fixtures/malformed").iterdir()):
        frame = decoded(path)
        assert (frame.hu is None) == bool(frame.problem)


def test_rescale_is_applied_once_and_fractions_are_kept() -> None:
    stored = np.array([[0, 1, 2, 4095]], np.uint16)
    np.testing.assert_array_equal(hounsfield(stored, 1, -1024), [[-1024, -1023, -1022, 3071]])
    np.testing.assert_array_equal(hounsfield(stored, 2, -1000), [[-1000, -998, -996, 7190]])
    fractions = hounsfield(stored, 0.5, -1024)
    assert fractions.dtype == np.float32
    np.testing.assert_array_equal(fractions, [[-1024, -1023.5, -1023, 1023.5]])


def test_values_beyond_int16_are_held_at_its_ends() -> None:
    assert hounsfield(np.array([[65535]], np.uint16), 1, 0).item() == 32767


def test_padding_around_the_image_is_air_and_the_same_value_inside_is_tissue() -> None:
    stored = np.zeros((6, 6), np.int16)
    stored[1:5, 1:5] = 40
    stored[2, 2] = 0
    image = hounsfield(stored, 1, 0, (0, 0))
    assert image[0, 0] == image[5, 3] == -1024
    assert image[2, 2] == 0
    assert image[3, 3] == 40


def test_padding_below_air_is_left_as_it_is() -> None:
    assert hounsfield(np.full((3, 3), -2000, np.int16), 1, -1024, (-2000, -2000))[0, 0] == -3024


def test_an_unreadable_padding_value_costs_no_pixels(tmp_path: Path) -> None:
    image = ct_image(0)
    image.add_new(0x00280120, "LO", "none")
    (path,) = save([image], tmp_path)
    assert (hu(path) == -1000).all()


def test_unsigned_twelve_bits_with_an_overlay_above(tmp_path: Path) -> None:
    stored = np.full((12, 16), 1100, np.uint16)
    stored[3, 4] |= 0x8000
    image = ct_image(
        0, stored.view(np.int16), BitsStored=12, HighBit=11, PixelRepresentation=0, PixelData=stored.tobytes()
    )
    (path,) = save([image], tmp_path)
    assert (hu(path) == 76).all()


def test_signed_twelve_bits_are_sign_extended(tmp_path: Path) -> None:
    stored = np.full((12, 16), -1000 & 0x0FFF, np.uint16)
    image = ct_image(0, stored.view(np.int16), BitsStored=12, HighBit=11, RescaleIntercept=0)
    (path,) = save([image], tmp_path)
    assert (hu(path) == -1000).all()


@pytest.mark.parametrize("tags", [{"RescaleSlope": 0}, {"Rows": 65535}, {"Rows": 13}])
def test_lying_headers_are_a_problem(tmp_path: Path, tags: dict[str, int]) -> None:
    (path,) = save([ct_image(0, **tags)], tmp_path)
    assert decoded(path).hu is None


def test_a_lookup_table_instead_of_a_rescale_is_a_problem(tmp_path: Path) -> None:
    table = Dataset()
    table.LUTDescriptor, table.LUTData = [4096, 0, 16], [0, 1]
    table["LUTDescriptor"].VR = table["LUTData"].VR = "US"
    image = ct_image(0, RescaleSlope=None, RescaleIntercept=None)
    image.ModalityLUTSequence = [table]
    (path,) = save([image], tmp_path)
    assert decoded(path).hu is None


def test_a_padding_range_around_the_image_is_air(tmp_path: Path) -> None:
    stored = np.full((12, 16), 1064, np.int16)
    stored[0], stored[1] = 3000, 3010
    image = ct_image(0, stored, PixelPaddingValue=3000, PixelPaddingRangeLimit=3010)
    (path,) = save([image], tmp_path)
    assert (hu(path)[:2] == -1024).all()
    assert (hu(path)[2:] == 40).all()


def test_the_frames_of_a_file_break_one_by_one(tmp_path: Path) -> None:
    (path,) = save([ct_image(0)], tmp_path)
    first, second = decode_frames(path, [0, 1])
    assert first.hu is not None
    assert (second.hu, bool(second.problem)) == (None, True)


@pytest.mark.parametrize(
    ("tags", "border", "padding", "vr"),
    [
        # Unsigned, its padding written as a negative number.
        ({"PixelRepresentation": 0}, 32768, -32768, "SS"),
        # Signed with intercept 0, its padding written as a positive number.
        ({"RescaleIntercept": 0}, 0xFF9C, 0xFF9C, "US"),
        # Twelve bits, and padding that takes all sixteen.
        ({"PixelRepresentation": 0, "BitsStored": 12, "HighBit": 11}, 63536, 63536, "US"),
        ({"PixelRepresentation": 0, "BitsStored": 12, "HighBit": 11}, 63536, -2000, "SS"),
    ],
)
def test_padding_is_known_by_its_bits(
    tags: dict[str, int], border: int, padding: int, vr: str, tmp_path: Path
) -> None:
    stored = np.full((12, 16), 1064, np.uint16)
    stored[0] = border
    image = ct_image(0, stored.view(np.int16), **tags)
    image.add_new("PixelPaddingValue", vr, padding)
    (path,) = save([image], tmp_path)
    assert (hu(path)[0] == -1024).all()
    assert (hu(path)[1:] == 1064 + image.RescaleIntercept).all()


def test_values_beyond_single_precision_are_held_as_others_are() -> None:
    values = hounsfield(np.array([[3, -3, 0]], np.int16), 1e300, 0.5)
    assert values.tolist() == [[32767, -32768, 0.5]]
