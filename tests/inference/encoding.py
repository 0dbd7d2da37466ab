"""A CT image in every transfer syntax, by encoders that are not ours."""

from __future__ import annotations

import os
import shutil
import subprocess
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

_DCMTK = {
    ExplicitVRLittleEndian: ("dcmconv", "+te"),
    ImplicitVRLittleEndian: ("dcmconv", "+ti"),
    ExplicitVRBigEndian: ("dcmconv", "+tb"),
    DeflatedExplicitVRLittleEndian: ("dcmconv", "+td"),
    RLELossless: ("dcmcrle",),
    JPEGBaseline8Bit: ("dcmcjpeg", "+eb"),
    JPEGExtended12Bit: ("dcmcjpeg", "+ee"),
    JPEGLossless: ("dcmcjpeg", "+el"),
    JPEGLosslessSV1: ("dcmcjpeg", "+e1"),
    JPEGLSLossless: ("dcmcjpls", "+el"),
    JPEGLSNearLossless: ("dcmcjpls", "+en"),
}
_HTJ2K = {
    HTJ2KLossless: ("-reversible", "true"),
    HTJ2KLosslessRPCL: ("-reversible", "true", "-prog_order", "RPCL"),
    HTJ2K: ("-qstep", "0.0005"),
}

_SSIZ = 42
"""Where a codestream says how many bits its component has and whether it is signed (T.800 A.5.1)."""

LOSSLESS = (
    ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian,
    RLELossless, JPEGLossless, JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless, HTJ2KLossless,
    HTJ2KLosslessRPCL,
)  # fmt: skip


def stored_as(image: Dataset, hu: NDArray[np.int16], *, signed: bool, bits: int) -> Dataset:
    """The image with `hu` [row, column] as whole stored values of so many bits, uncompressed."""
    image = deepcopy(image)
    offset = 0 if signed else -1024
    lowest = -(1 << (bits - 1)) if signed else 0
    stored = np.clip(hu.astype(np.int32) - offset, lowest, lowest + (1 << bits) - 1)
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, bits, bits - 1
    image.PixelRepresentation = int(signed)
    image.RescaleSlope, image.RescaleIntercept = 1, offset
    for keyword in ("PixelPaddingValue", "SmallestImagePixelValue", "LargestImagePixelValue"):
        if keyword in image:
            delattr(image, keyword)
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    # Nothing but zeros above the bits that are stored, as scanners write it.
    image.PixelData = (stored & ((1 << bits) - 1)).astype("<u2").tobytes()
    image["PixelData"].VR = "OW"
    return image


def encoded(image: Dataset, syntax: UID, folder: Path) -> Path:
    """An uncompressed image as a file in a transfer syntax; skips the test where its encoder is absent."""
    source, target = folder / "source.dcm", folder / f"{syntax}.dcm"
    image.save_as(source, enforce_file_format=True)
    if syntax in _DCMTK:
        command = _DCMTK[syntax]
        _run(command[0], *command[1:], str(source), str(target))
        return target
    coded = deepcopy(image)
    if syntax in _HTJ2K:
        coded.PixelData = encapsulate([_htj2k(image, folder, *_HTJ2K[syntax])])
        coded["PixelData"].is_undefined_length = True
        coded.file_meta.TransferSyntaxUID = syntax
    elif syntax == JPEG2000:
        coded.compress(syntax, j2k_cr=[5], generate_instance_uid=False)
    else:
        coded.compress(syntax, generate_instance_uid=False)
    coded.save_as(target, enforce_file_format=True)
    return target


def _htj2k(image: Dataset, folder: Path, *options: str) -> bytes:
    """A codestream of one frame.

    The encoder takes unsigned samples alone. Those it moves down by half their range (ITU-T T.800 G.1.2), as
    signed ones are not: signed pixels are encoded moved up by as much, and the codestream then calls itself
    signed.
    """
    source, target = folder / "image.yuv", folder / "image.j2c"
    bits = int(image.BitsStored)
    stored = np.frombuffer(image.PixelData, np.uint16)
    if image.PixelRepresentation:
        stored = stored ^ (1 << (bits - 1))
    stored.astype(np.uint8 if bits <= 8 else np.uint16).tofile(source)
    _run(
        "ojph_compress", "-i", str(source), "-o", str(target), *options, "-num_comps", "1",
        "-signed", "false", "-bit_depth", str(bits), "-downsamp", "{1,1}",
        "-dims", f"{{{image.Columns},{image.Rows}}}",
    )  # fmt: skip
    codestream = bytearray(target.read_bytes())
    if image.PixelRepresentation:
        codestream[_SSIZ] |= 0x80
    return bytes(codestream)


def _run(program: str, *arguments: str) -> None:
    if shutil.which(program) is None:
        message = f"{program} is not installed (Debian: dcmtk, openjph-tools)"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    subprocess.run([program, *arguments], check=True, capture_output=True)
