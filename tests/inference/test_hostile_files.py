"""Files made to stop a reader: each ends in words, within a memory that its own size bounds."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless

import inference.pixels
import inference.reading_pool
from inference.decoding import decode_frame
from inference.dicom_files import read_header, read_headers, source_headers
from inference.errors import VolumeRefusal
from inference.header_parsing import parse_header
from inference.preamble import without_preamble
from inference.volume import read_volume
from tests.inference.encoding import encoded
from tests.inference.synthetic import ct_image, ct_series, save

MEMORY_BYTES = 700 << 20
"""What a process that reads small files may have held at most: itself, and a part of its allowance."""


def written(tmp_path: Path, image: Dataset) -> bytes:
    (path,) = save([image], tmp_path / "whole")
    return path.read_bytes()


def before_pixels(content: bytes, inserted: bytes) -> bytes:
    """The file with bytes put in front of its pixel data."""
    place = content.index(b"\xe0\x7f\x10\x00OW")
    return content[:place] + inserted + content[place:]


def nested(content: bytes) -> bytes:
    """A sequence a hundred thousand items deep."""
    level = b"\x40\x00\x75\x02SQ\x00\x00\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    return before_pixels(content, level * 100_000)


def endless(content: bytes) -> bytes:
    """A sequence of undefined length that never ends."""
    item = b"\xfe\xff\x00\xe0\x08\x00\x00\x00\x08\x00\x00\x01SH\x00\x00"
    return before_pixels(content, b"\x40\x00\x75\x02SQ\x00\x00\xff\xff\xff\xff" + item * 40_000)


def lying_length(content: bytes) -> bytes:
    """A private element that says that it holds four gigabytes."""
    return before_pixels(content, b"\x71\x00\x10\x00OB\x00\x00\xf0\xff\xff\xff")


def large_private(content: bytes) -> bytes:
    """A private element of eight megabytes."""
    value = bytes(8 << 20)
    return before_pixels(content, b"\x71\x00\x10\x00OB\x00\x00" + struct.pack("<I", len(value)) + value)


def lying_pixels(content: bytes) -> bytes:
    """Pixel data that say that they are four gigabytes."""
    place = content.index(b"\xe0\x7f\x10\x00OW") + 8
    return content[:place] + b"\xfe\xff\xff\xff" + content[place + 4 :]


def deflated_bomb(content: bytes) -> bytes:
    """A few megabytes that are 2.5 gigabytes of zeros."""
    start = content.index(b"\x08\x00\x05\x00") if b"\x08\x00\x05\x00" in content else 132
    syntax = DeflatedExplicitVRLittleEndian.encode()
    meta = b"\x02\x00\x10\x00UI" + struct.pack("<H", len(syntax) + len(syntax) % 2) + syntax
    meta += b"\0" * (len(syntax) % 2)
    head = bytes(128) + b"DICM\x02\x00\x00\x00UL\x04\x00" + struct.pack("<I", len(meta)) + meta
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = squeeze.compress(content[start:])
    block = bytes(1 << 24)
    return head + packed + b"".join(squeeze.compress(block) for _ in range(160)) + squeeze.flush()


@pytest.mark.parametrize("content", [bytes(1 << 26), b"PK\x03\x04" + bytes(1 << 20), b"", b"\x08"])
def test_a_file_that_does_not_begin_as_dicom_is_not_read_to_its_end(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "zeros"
    path.write_bytes(content)
    read: list[object] = []
    monkeypatch.setattr("inference.header_parsing.dcmread", lambda path, **_: read.append(path))
    assert parse_header(path) is None
    assert read == []


HOSTILE: dict[str, Callable[[bytes], bytes]] = {
    function.__name__: function
    for function in (nested, endless, lying_length, large_private, lying_pixels, deflated_bomb)
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_file_costs_itself_alone(kind: str, tmp_path: Path) -> None:
    inference.reading_pool.READERS.close()
    good = save(ct_series(24), tmp_path / "good")
    bad = tmp_path / "bad"
    bad.write_bytes(HOSTILE[kind](written(tmp_path, ct_image(30))))
    assert len(read_headers([bad, *good]).headers) in {24, 25}
    decoded = decode_frame(bad, 0)
    assert (decoded.hu is None) == bool(decoded.problem)
    # With its identity, or refused in words.
    with suppress(VolumeRefusal):
        assert source_headers([bad])[0].PatientID == "P1"
    assert len(read_volume(good).voxels_hu) == 24
    for process in inference.reading_pool.READERS._idle:
        assert process._process is not None
        status = Path(f"/proc/{process._process.pid}/status").read_text()
        peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        assert int(peak.split()[1]) * 1024 < (MEMORY_BYTES if kind != "deflated_bomb" else 3 * MEMORY_BYTES)


@pytest.mark.parametrize(
    "tags",
    [
        {"Rows": 65535, "Columns": 65535},
        {"NumberOfFrames": 10**9},
        {"BitsAllocated": 64, "BitsStored": 64},
        {"BitsStored": 0},
        {"SamplesPerPixel": 65535},
        {"RescaleSlope": "NaN"},
        {"RescaleSlope": "1e300"},
        {"PixelRepresentation": 7},
    ],
)
def test_a_lying_header_is_a_problem_in_words(tags: dict[str, object], tmp_path: Path) -> None:
    image = ct_image(0)
    for keyword, value in tags.items():
        if keyword == "RescaleSlope":
            del image.RescaleSlope
            image.add_new("RescaleSlope", "DS", "1")
            image["RescaleSlope"]._value = value
        else:
            setattr(image, keyword, value)
    (path,) = save([image], tmp_path)
    decoded = decode_frame(path, 0)
    assert (decoded.hu is None) == bool(decoded.problem)
    if decoded.hu is not None:
        assert decoded.hu.shape == (12, 16)


def test_a_compressed_frame_that_is_larger_than_its_header_says(tmp_path: Path) -> None:
    image = ct_image(0, np.zeros((12, 16), np.int16))
    image.PixelData = encapsulate([bytes([1]) + bytes(63) + b"\x81\x00" * 1_000_000])
    image["PixelData"].is_undefined_length = True
    image.file_meta.TransferSyntaxUID = RLELossless
    (path,) = save([image], tmp_path)
    assert decode_frame(path, 0).hu is None


def test_a_codec_that_panics_costs_the_frame_and_not_the_process(tmp_path: Path) -> None:
    """One byte more than the frame has; the codec's own exception is none of Python's `Exception`."""
    image = ct_image(0, np.zeros((12, 16), np.int16))
    header = struct.pack("<16I", 2, 64, 70, *[0] * 13)
    plane = b"\x81\x00\xbf\x00\x00\x00"
    image.PixelData = encapsulate([header + plane + plane])
    image["PixelData"].is_undefined_length = True
    image.file_meta.TransferSyntaxUID = RLELossless
    (path,) = save([image], tmp_path)
    (decoded,) = inference.pixels.decode_frames(path, [0])
    assert decoded.hu is None
    assert decoded.problem == "they are damaged, or not as their header says"


@pytest.mark.parametrize("spacing", [[-0.8, 0.8], [0.0, 0.8], ["NaN", 0.8], ["inf", 0.8]])
def test_spacing_that_no_image_has_is_no_place(spacing: list[object], tmp_path: Path) -> None:
    image = ct_image(0)
    text = "\\".join(str(value) for value in spacing)
    content = written(tmp_path, image).replace(b"0.8\\0.8 ", text.encode().ljust(8))
    if len(text) > 8:
        place = content.index(b"\x28\x00\x30\x00DS") + 6
        content = content[:place] + struct.pack("<H", 8) + text.encode()[:8] + content[place + 10 :]
    path = tmp_path / "bad"
    path.write_bytes(content)
    header = read_header(path)
    assert header is not None
    assert header.planes == ()


@pytest.mark.parametrize("program", [b"MZ\x90\x00", b"\x7fELF", b"#!/bin/sh\n", b"II*\x00"])
def test_a_preamble_is_not_passed_on(program: bytes, tmp_path: Path) -> None:
    content = written(tmp_path, ct_image(0))
    harmless = bytes(128) + content[128:]
    assert without_preamble(program.ljust(128, b"x") + content[128:]) == harmless
    assert without_preamble(harmless) == harmless
    assert without_preamble(b"MZ no DICOM") == b"MZ no DICOM"


def test_a_large_private_element_is_not_taken_into_the_node(tmp_path: Path) -> None:
    path = tmp_path / "bad"
    path.write_bytes(large_private(written(tmp_path, ct_image(0))))
    assert path.stat().st_size > 8 << 20
    (header,) = source_headers([path])
    assert header.PatientID == "P1"
    assert not [element for element in header if element.tag.is_private]


def test_source_headers_keep_text_and_values(tmp_path: Path) -> None:
    image = ct_image(0, SpecificCharacterSet="ISO_IR 144", PatientName="Люкceмбypг")
    for syntax in ("1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"):
        path = encoded(image, type(DeflatedExplicitVRLittleEndian)(syntax), tmp_path)
        (header,) = source_headers([path])
        assert str(header.PatientName) == "Люкceмбypг"
        assert header.PixelSpacing == image.PixelSpacing
        assert "PixelData" not in header
