"""Stored pixels to Hounsfield units, for every transfer syntax that a CT can have.

Rescale slope and intercept are applied exactly once, each frame with its own (PS3.3 C.11.1.1 and the Pixel
Value Transformation functional group).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import get_frame
from pydicom.pixels.utils import get_j2k_parameters, pixel_array
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
)
from scipy import ndimage

from inference.dicom_files import UNREADABLE_FILE

AIR_HU = -1000
PADDING_HU = -1024
MAX_SIDE = 8192
"""Longest side of a frame that is decoded, in pixels: no CT has more, and memory is bounded by it."""

_FASTEST = dict.fromkeys((JPEGLSLossless, JPEGLSNearLossless), "pyjpegls")

_SECONDS: dict[str, float] = {
    **dict.fromkeys((JPEGLSLossless, JPEGLSNearLossless), 0.006),
    **dict.fromkeys((JPEGLossless, JPEGLosslessSV1), 0.012),
    **dict.fromkeys(JPEG2000TransferSyntaxes, 0.04),
}

HounsfieldArray = NDArray[np.int16] | NDArray[np.float32]


@dataclass(frozen=True)
class FrameRequest:
    """Frames of one file: `frames` counts from 0."""

    path: Path
    frames: tuple[int, ...]


@dataclass(frozen=True)
class DecodedFrames:
    """Frames in HU, each [row, column]: int16, or float32 where the rescale has fractions.

    A frame that cannot be decoded is None, and `problem` says why in words without anything of the patient.
    """

    frames: tuple[HounsfieldArray | None, ...]
    problem: str = ""


@dataclass(frozen=True)
class _Rescale:
    slope: float
    intercept: float
    padding: tuple[int, int] | None  # lowest and highest stored value that mean "no pixel"


def decoding_seconds(transfer_syntax: str) -> float:
    """About how long decoding a frame of 512 x 512 takes; it need only be good enough to plan by."""
    return _SECONDS.get(transfer_syntax, 0.002)


def decode_request(request: FrameRequest) -> DecodedFrames:
    """The frames of one file; whatever is wrong with the file ends in `problem`, never in an exception."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = _with_transfer_syntax(dcmread(request.path, force=True))
            frames = tuple(_frame(dataset, index) for index in request.frames)
    except (*UNREADABLE_FILE, RuntimeError, AssertionError) as error:
        # The class alone: a codec's message may quote the file.
        return DecodedFrames((None,) * len(request.frames), f"{type(error).__name__} while decoding")
    return DecodedFrames(frames)


def hounsfield(
    stored: NDArray[np.integer], slope: float, intercept: float, padding: tuple[int, int] | None = None
) -> HounsfieldArray:
    """Stored values [row, column] as HU.

    int16 where slope and intercept are whole numbers (HU beyond its range are held at its ends), else
    float32. Padding that would read as tissue becomes -1024 where it surrounds the image; padding below air
    stays as it is, since every reader of the volume takes it for air.
    """
    if float(slope).is_integer() and float(intercept).is_integer():
        exact = stored.astype(np.int64 if stored.dtype.itemsize > 2 else np.int32)
        exact = exact * int(slope) + int(intercept)
        values: HounsfieldArray = np.clip(exact, -32768, 32767).astype(np.int16)
    else:
        values = (stored * float(slope) + float(intercept)).astype(np.float32)
    if padding is not None and padding[1] * slope + intercept > AIR_HU:
        surrounding = _surrounding((stored >= padding[0]) & (stored <= padding[1]))
        values[surrounding] = PADDING_HU
    return values


def _with_transfer_syntax(dataset: FileDataset) -> FileDataset:
    """A file without meta information says by its encoding which native transfer syntax it is in."""
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        native = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else native
    return dataset


def _frame(dataset: Dataset, index: int) -> HounsfieldArray:
    if not (0 < dataset.Rows <= MAX_SIDE and 0 < dataset.Columns <= MAX_SIDE):
        raise ValueError("matrix beyond any CT")
    stored = _stored(dataset, index)
    if stored.ndim != 2:
        raise ValueError("colour pixels")
    rescale = _rescale(dataset, index)
    return hounsfield(_used_bits(stored, dataset), rescale.slope, rescale.intercept, rescale.padding)


def _stored(dataset: Dataset, index: int) -> NDArray[np.integer]:
    """Stored values of one frame, by the fastest codec that manages it."""
    transfer_syntax = dataset.file_meta.TransferSyntaxUID
    try:
        stored = pixel_array(dataset, index=index, decoding_plugin=_FASTEST.get(transfer_syntax, ""))
    except RuntimeError:
        stored = pixel_array(dataset, index=index)
    if transfer_syntax in JPEG2000TransferSyntaxes and dataset.PixelRepresentation == 0:
        frame = get_frame(dataset.PixelData, index, number_of_frames=int(dataset.get("NumberOfFrames") or 1))
        if get_j2k_parameters(frame).get("is_signed"):
            # Some writers declare unsigned pixels over a signed codestream, which then tells the truth.
            stored = stored.view(np.dtype(f"i{stored.dtype.itemsize}"))
    values: NDArray[np.integer] = stored
    return values


def _used_bits(stored: NDArray[np.integer], dataset: Dataset) -> NDArray[np.integer]:
    """Native pixels without what lies above BitsStored (overlays in old files), their sign extended."""
    unused = stored.dtype.itemsize * 8 - int(dataset.BitsStored)
    if unused <= 0 or dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        return stored
    return (stored << unused) >> unused


def _rescale(dataset: Dataset, index: int) -> _Rescale:
    """Slope, intercept and padding that hold for one frame."""
    holders = [dataset]
    for groups in (
        dataset.get("SharedFunctionalGroupsSequence", [])[:1],
        dataset.get("PerFrameFunctionalGroupsSequence", [])[index : index + 1],
    ):
        holders = [
            item for group in groups for item in group.get("PixelValueTransformationSequence", [])
        ] + holders
    slope = next((item.RescaleSlope for item in holders if item.get("RescaleSlope") is not None), 1)
    intercept = next(
        (item.RescaleIntercept for item in holders if item.get("RescaleIntercept") is not None), 0
    )
    if not np.isfinite([float(slope), float(intercept)]).all() or float(slope) == 0:
        raise ValueError("no usable rescale slope and intercept")
    return _Rescale(float(slope), float(intercept), _padding(dataset))


def _padding(dataset: Dataset) -> tuple[int, int] | None:
    value = dataset.get("PixelPaddingValue")
    if value is None:
        return None
    limit = dataset.get("PixelPaddingRangeLimit")
    bits = int(dataset.BitsAllocated)
    try:
        stated = [int(end) for end in (value, value if limit is None else limit)]
    except (TypeError, ValueError):
        return None  # unreadable: no reason to lose the pixels
    ends = [_as_stored(end, bits, signed=dataset.PixelRepresentation == 1) for end in stated]
    return min(ends), max(ends)


def _as_stored(value: int, bits: int, *, signed: bool) -> int:
    """A padding value with the sign of the pixels, whatever VR (US or SS) a writer gave it."""
    value %= 1 << bits
    return value - (1 << bits) if signed and value >> (bits - 1) else value


def _surrounding(padded: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The padded areas that touch the border of the image."""
    labels, _ = ndimage.label(padded)
    border = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    return np.asarray(np.isin(labels, border[border > 0]))
