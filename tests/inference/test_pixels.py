from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from inference.decoding import decode
from inference.decoding_process import DecodingProcess
from inference.pixels import FrameRequest, decode_request, decoding_seconds, hounsfield
from tests.inference.synthetic import ct_image, save

LOSSLESS = [
    "BigEndianExplicit",
    "DeflatedExplicitVRLittleEndian",
    "JPEG2000LosslessOnly",
    "JPEGLSLossless",
    "JPEGProcess14SV1",
    "JPEGProcess14Transfer",
    "LittleEndianImplicit",
    "RLELossless",
]
LOSSY = {"JPEG2000Transfer": 1, "JPEGLSLossy": 1, "JPEGProcess1Transfer": 25, "JPEGProcess2_4": 5}  # mean HU
RETIRED = ["JPEGProcess10_12", "JPEGProcess6_8"]


def cornerstone(ct_data: Path, syntax: str) -> Path:
    (path,) = (ct_data / "fixtures/transfer-syntaxes/cornerstone-ctimage").glob(f"*_{syntax}*")
    return path


def hu(path: Path) -> np.ndarray:
    decoded = decode_request(FrameRequest(path, (0,)))
    assert decoded.problem == ""
    (frame,) = decoded.frames
    assert frame is not None
    return frame


def test_every_lossless_transfer_syntax_gives_the_same_hounsfield_units(ct_data: Path) -> None:
    expected = hu(cornerstone(ct_data, "LittleEndianExplicit"))
    assert (expected.min(), expected.max(), expected.dtype) == (-3024, 1378, np.int16)
    for syntax in LOSSLESS:
        np.testing.assert_array_equal(hu(cornerstone(ct_data, syntax)), expected, err_msg=syntax)


@pytest.mark.parametrize("syntax", LOSSY)
def test_lossy_transfer_syntaxes_come_close(ct_data: Path, syntax: str) -> None:
    expected = hu(cornerstone(ct_data, "LittleEndianExplicit")).astype(float)
    assert np.abs(hu(cornerstone(ct_data, syntax)) - expected).mean() < LOSSY[syntax]


@pytest.mark.parametrize("syntax", RETIRED)
def test_retired_transfer_syntaxes_are_a_problem_in_words(ct_data: Path, syntax: str) -> None:
    decoded = decode_request(FrameRequest(cornerstone(ct_data, syntax), (0,)))
    assert decoded.frames == (None,)
    assert decoded.problem


@pytest.mark.parametrize("name", ["CT1_J2KR", "CT1_JLSL", "CT1_JPLL", "CT1_RLE"])
def test_the_nema_samples_agree(ct_data: Path, name: str) -> None:
    folder = ct_data / "fixtures/transfer-syntaxes"
    np.testing.assert_array_equal(hu(folder / "wg04" / name), hu(folder / "other/D_CLUNIE_CT1_RLE_FRAGS.dcm"))


def test_a_signed_codestream_under_an_unsigned_header_is_read_as_signed(ct_data: Path) -> None:
    image = hu(ct_data / "fixtures/transfer-syntaxes/pylibjpeg-data/TOSHIBA_J2K_SIZ1_PixRep0.dcm")
    assert image.min() == -2048
    assert -1000 < image.mean() < -700


def test_no_malformed_file_raises(ct_data: Path) -> None:
    for path in sorted((ct_data / "fixtures/malformed").iterdir()):
        decoded = decode_request(FrameRequest(path, (0,)))
        assert (decoded.frames[0] is None) == bool(decoded.problem)


def test_processes_give_what_this_process_gives(ct_data: Path) -> None:
    names = ["JPEGLSLossless", "JPEGProcess10_12", "JPEG2000LosslessOnly"]
    requests = [FrameRequest(cornerstone(ct_data, name), (0,)) for name in names for _ in range(16)]
    decoded = list(decode(requests, seconds_a_frame=1.0, workers=2))
    expected = hu(cornerstone(ct_data, "LittleEndianExplicit"))
    assert len(decoded) == 48
    for request, answer in zip(requests, decoded, strict=True):
        if "10_12" in request.path.name:
            assert answer.frames == (None,)
        else:
            np.testing.assert_array_equal(answer.frames[0], expected)


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
    assert decode_request(FrameRequest(path, (0,))).frames == (None,)


def test_a_decoder_that_dies_costs_its_request_and_no_more(ct_data: Path) -> None:
    decoder = DecodingProcess()
    request = FrameRequest(cornerstone(ct_data, "JPEGLSLossless"), (0,))
    assert decoder(request).problem == ""
    assert decoder._process is not None
    decoder._process.kill()
    assert decoder(request).frames == (None,)
    assert decoder(request).problem == ""
    decoder.close()


def test_jpeg_2000_is_known_to_take_longest() -> None:
    j2k, jls, native = (decoding_seconds(f"1.2.840.10008.1.2{end}") for end in (".4.90", ".4.80", ""))
    assert j2k > jls > native
