"""A real CT slice through every transfer syntax and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSNearLossless,
)

from inference.decoding import decode_frame
from tests.inference.encoding import LOSSLESS, encoded, stored_as
from tests.inference.synthetic import ct_image, save

# Mean and largest difference in HU. Baseline has 8 bits, of 16 HU each; the quality is the encoder's own.
LOSSY = {
    JPEGBaseline8Bit: (25.0, 260.0),
    JPEGExtended12Bit: (3.0, 20.0),
    JPEGLSNearLossless: (1.1, 2.0),
    JPEG2000: (8.0, 60.0),
    HTJ2K: (2.0, 12.0),
}

CORNERSTONE = {
    "BigEndianExplicit": 0, "DeflatedExplicitVRLittleEndian": 0, "JPEG2000LosslessOnly": 0,
    "JPEGLSLossless": 0, "JPEGProcess14SV1": 0, "JPEGProcess14Transfer": 0, "LittleEndianImplicit": 0,
    "RLELossless": 0, "JPEG2000Transfer": 1, "JPEGLSLossy": 1, "JPEGProcess1Transfer": 25,
    "JPEGProcess2_4": 5,
}  # fmt: skip


def hu(path: Path) -> NDArray[np.int16] | NDArray[np.float32]:
    decoded = decode_frame(path, 0)
    assert decoded.problem == ""
    assert decoded.hu is not None
    return decoded.hu


@pytest.fixture(scope="module")
def slice_of_a_chest(ct_data: Path) -> tuple[Dataset, NDArray[np.int16]]:
    """A slice of a Philips scanner and its HU, which fit into twelve bits, signed or not."""
    path = sorted((ct_data / "ct" / "lung-dx-a0001-philips" / "kernel-a").iterdir())[30]
    image = pydicom.dcmread(path)
    values = image.pixel_array.astype(np.int32) * int(image.RescaleSlope) + int(image.RescaleIntercept)
    return image, np.clip(values, -1024, 2047).astype(np.int16)


@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("syntax", LOSSLESS, ids=lambda uid: uid.name)
def test_lossless_syntaxes_give_every_hu_back(
    slice_of_a_chest: tuple[Dataset, NDArray[np.int16]],
    syntax: UID,
    signed: bool,
    bits: int,
    tmp_path: Path,
) -> None:
    image, values = slice_of_a_chest
    path = encoded(stored_as(image, values, signed=signed, bits=bits), syntax, tmp_path)
    assert pydicom.dcmread(path).file_meta.TransferSyntaxUID == syntax
    np.testing.assert_array_equal(hu(path), values)


@pytest.mark.parametrize(
    ("syntax", "signed"),
    # The encoder of near-lossless JPEG-LS takes no signed pixels.
    [
        (uid, signed)
        for uid in LOSSY
        for signed in (False, True)
        if not (signed and uid == JPEGLSNearLossless)
    ],
)
def test_lossy_syntaxes_come_as_close_as_their_encoder(
    slice_of_a_chest: tuple[Dataset, NDArray[np.int16]], syntax: UID, signed: bool, tmp_path: Path
) -> None:
    image, values = slice_of_a_chest
    path = encoded(stored_as(image, values, signed=signed, bits=12), syntax, tmp_path)
    assert pydicom.dcmread(path).file_meta.TransferSyntaxUID == syntax
    difference = np.abs(hu(path).astype(float) - values)
    assert difference.max() > 0, "nothing was lost: this is no test of a lossy syntax"
    mean, most = LOSSY[syntax]
    assert difference.mean() < mean
    assert difference.max() <= most


@pytest.mark.parametrize("bits", range(8, 17))
@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("syntax", LOSSLESS, ids=lambda uid: uid.name)
def test_any_number_of_bits_is_read(syntax: UID, signed: bool, bits: int, tmp_path: Path) -> None:
    lowest = 0 if signed else -1024
    lowest -= (1 << (bits - 1)) if signed else 0
    highest = min(lowest + (1 << bits) - 1, 32767)
    values = np.linspace(lowest, highest, 32 * 48).round().astype(np.int32).reshape(32, 48)
    image = stored_as(ct_image(0, np.zeros((32, 48), np.int16)), values, signed=signed, bits=bits)
    np.testing.assert_array_equal(hu(encoded(image, syntax, tmp_path)), values)


@pytest.mark.parametrize("syntax", CORNERSTONE)
def test_the_samples_of_one_slice_agree(ct_data: Path, syntax: str) -> None:
    folder = ct_data / "fixtures/transfer-syntaxes/cornerstone-ctimage"
    (reference,) = folder.glob("*_LittleEndianExplicit*")
    (path,) = folder.glob(f"*_{syntax}*")
    expected = hu(reference)
    assert (expected.min(), expected.max(), expected.dtype) == (-3024, 1378, np.int16)
    assert np.abs(hu(path).astype(float) - expected).mean() <= CORNERSTONE[syntax]


@pytest.mark.parametrize("name", ["CT1_J2KR", "CT1_JLSL", "CT1_JPLL", "CT1_RLE"])
def test_the_nema_samples_agree(ct_data: Path, name: str) -> None:
    folder = ct_data / "fixtures/transfer-syntaxes"
    np.testing.assert_array_equal(hu(folder / "wg04" / name), hu(folder / "other/D_CLUNIE_CT1_RLE_FRAGS.dcm"))


@pytest.mark.parametrize("syntax", ["JPEGProcess10_12", "JPEGProcess6_8"])
def test_retired_transfer_syntaxes_are_a_problem_in_words(ct_data: Path, syntax: str) -> None:
    folder = ct_data / "fixtures/transfer-syntaxes/cornerstone-ctimage"
    (path,) = folder.glob(f"*_{syntax}*")
    decoded = decode_frame(path, 0)
    assert decoded.hu is None
    assert decoded.problem


def test_a_signed_codestream_under_an_unsigned_header_is_read_as_signed(ct_data: Path) -> None:
    image = hu(ct_data / "fixtures/transfer-syntaxes/pylibjpeg-data/TOSHIBA_J2K_SIZ1_PixRep0.dcm")
    assert image.min() == -2048
    assert -1000 < image.mean() < -700


def test_colour_in_htj2k_is_no_ct(ct_data: Path) -> None:
    decoded = decode_frame(ct_data / "fixtures/transfer-syntaxes/other/HTJ2KLossless_08_RGB.dcm", 0)
    assert (decoded.hu, decoded.problem) == (None, "they are damaged, or not as their header says")


def test_a_file_without_meta_information_is_read(tmp_path: Path) -> None:
    image = ct_image(0)
    del image.file_meta
    path = tmp_path / "bare"
    pydicom.dcmwrite(path, image, implicit_vr=True, little_endian=True, enforce_file_format=False)
    assert (hu(path) == -1000).all()


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
def test_values_in_the_upper_bits_are_read_from_there(signed: bool, tmp_path: Path) -> None:
    stored = np.full((12, 16), -1000 if signed else 1100, np.int16)
    image = ct_image(
        0, stored << 4, BitsStored=12, HighBit=15, PixelRepresentation=int(signed), RescaleIntercept=0
    )
    (path,) = save([image], tmp_path)
    assert (hu(path) == stored).all()
