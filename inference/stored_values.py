"""Stored pixel values of one frame, from any transfer syntax that a CT can have (PS3.5 section 8)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import get_frame
from pydicom.pixels.utils import get_j2k_parameters, pixel_array
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

MAX_SIDE = 8192
"""Longest side of a frame that is decoded, in pixels: no CT has more, and memory is bounded by it."""

_RUST = "pyo3_runtime"
_FASTEST = dict.fromkeys((JPEGLSLossless, JPEGLSNearLossless), "pyjpegls")


def read_image(path: Path) -> FileDataset:
    """A file with its pixels; one without meta information says by its encoding which syntax it is in."""
    dataset = dcmread(path, force=True)
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        native = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else native
    return dataset


def stored_frame(dataset: Dataset, index: int) -> NDArray[np.integer]:
    """Stored values [row, column] of one frame, counted from 0.

    Raises
    ------
    ValueError
        For a matrix that no CT has, and for colour.
    Exception
        Whatever the codec raises.
    """
    if not (0 < dataset.Rows <= MAX_SIDE and 0 < dataset.Columns <= MAX_SIDE):
        raise ValueError("matrix beyond any CT")
    stored = _decoded(dataset, index)
    if stored.ndim != 2:
        raise ValueError("colour pixels")
    return _used_bits(stored, dataset)


def _decoded(dataset: Dataset, index: int) -> NDArray[np.integer]:
    """One frame by the fastest codec that manages it."""
    transfer_syntax = dataset.file_meta.TransferSyntaxUID
    if _is_plain(transfer_syntax):
        plain: NDArray[np.integer] = _pixels(dataset, index=index, correct_unused_bits=False)
        return plain
    try:
        decoded = _pixels(dataset, index=index, decoding_plugin=_FASTEST.get(transfer_syntax, ""))
    except RuntimeError:
        decoded = _pixels(dataset, index=index)
    if transfer_syntax in JPEG2000TransferSyntaxes and dataset.PixelRepresentation == 0:
        frame = get_frame(dataset.PixelData, index, number_of_frames=int(dataset.get("NumberOfFrames") or 1))
        if get_j2k_parameters(frame).get("is_signed"):
            # Some writers declare unsigned pixels over a signed codestream, which then tells the truth.
            decoded = decoded.view(np.dtype(f"i{decoded.dtype.itemsize}"))
    stored: NDArray[np.integer] = decoded
    return stored


def _pixels(dataset: Dataset, **options: Any) -> NDArray[Any]:
    """pydicom's decoding; a panic of a codec in Rust, which is no `Exception`, becomes one."""
    try:
        return pixel_array(dataset, **options)
    except BaseException as error:
        if type(error).__module__ == _RUST:
            raise RuntimeError("the codec panicked") from None
        raise


def _used_bits(stored: NDArray[np.integer], dataset: Dataset) -> NDArray[np.integer]:
    """The bits that hold a value, their sign extended.

    What lies around them in native and RLE pixels is none of it (overlays in old files). A codec gives values
    and no bits, but some give signed ones of fewer bits as they are stored, without their sign.
    """
    size, bits = stored.dtype.itemsize * 8, int(dataset.BitsStored)
    if not 0 < bits < size:
        return stored
    if _is_plain(dataset.file_meta.TransferSyntaxUID):
        high = int(dataset.get("HighBit") or bits - 1)
        above = size - 1 - high if bits - 1 <= high < size else size - bits
        return (stored << above) >> (size - bits)
    if stored.dtype.kind == "i" and stored.min() >= 0 and stored.max() < 1 << bits:
        return (stored << (size - bits)) >> (size - bits)
    return stored


def _is_plain(transfer_syntax: UID) -> bool:
    """Whether pixels are kept bit by bit, with all that is allocated."""
    return not transfer_syntax.is_encapsulated or transfer_syntax == RLELossless
