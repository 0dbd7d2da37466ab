"""Stored pixels to Hounsfield units.

Rescale slope and intercept are applied exactly once, each frame with its own (PS3.3 C.11.1.1 and the Pixel
Value Transformation functional group).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from scipy import ndimage

from inference.header_parsing import UNREADABLE_FILE
from inference.stored_values import read_image, stored_frame

AIR_HU = -1000
PADDING_HU = -1024

_PROBLEMS: tuple[tuple[type[BaseException], str], ...] = (
    (MemoryError, "they ask for more memory than a file of this size can need"),
    (NotImplementedError, "they are encoded in a way that is not supported"),
)
_DAMAGED = "they are damaged, or not as their header says"

HounsfieldArray = NDArray[np.int16] | NDArray[np.float32]


@dataclass(frozen=True)
class DecodedFrame:
    """A frame in HU [row, column]: int16, or float32 where the rescale has fractions.

    It is None where it cannot be decoded, and `problem` says why in words without anything of the patient.
    """

    hu: HounsfieldArray | None
    problem: str = ""


@dataclass(frozen=True)
class _Rescale:
    slope: float
    intercept: float
    padding: tuple[int, int] | None  # lowest and highest stored value that mean "no pixel"


def decode_frames(path: Path, frames: Sequence[int]) -> Iterator[DecodedFrame]:
    """Frames of one file, counted from 0, in this process; nothing that is wrong with the file is raised.

    The node calls `inference.decoding` instead, which lets a process of its own do this.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            dataset = read_image(path)
        except UNREADABLE_FILE as error:
            yield from [_undecoded(error)] * len(frames)
            return
        for index in frames:
            try:
                decoded = DecodedFrame(_frame(dataset, index))
            except UNREADABLE_FILE as error:
                decoded = _undecoded(error)
            yield decoded


def hounsfield(
    stored: NDArray[np.integer], slope: float, intercept: float, padding: tuple[int, int] | None = None
) -> HounsfieldArray:
    """Stored values [row, column] as HU.

    int16 where slope and intercept are whole numbers, else float32; HU beyond the range of int16 are held at
    its ends. Padding that would read as tissue becomes -1024 where it surrounds the image; padding below air
    stays as it is, since every reader of the volume takes it for air.
    """
    if float(slope).is_integer() and float(intercept).is_integer():
        exact = stored.astype(np.int64 if stored.dtype.itemsize > 2 else np.int32)
        exact = exact * int(slope) + int(intercept)
        values: HounsfieldArray = np.clip(exact, -32768, 32767).astype(np.int16)
    else:
        with np.errstate(over="ignore"):
            fractions = stored * float(slope) + float(intercept)
        values = np.clip(fractions, -32768, 32767).astype(np.float32)
    if padding is not None and padding[1] * slope + intercept > AIR_HU:
        surrounding = _surrounding((stored >= padding[0]) & (stored <= padding[1]))
        values[surrounding] = PADDING_HU
    return values


def _undecoded(error: BaseException) -> DecodedFrame:
    # By the class alone: a codec's message may quote the file.
    words = next((words for kind, words in _PROBLEMS if isinstance(error, kind)), _DAMAGED)
    return DecodedFrame(None, words)


def _frame(dataset: Dataset, index: int) -> HounsfieldArray:
    rescale = _rescale(dataset, index)
    return hounsfield(stored_frame(dataset, index), rescale.slope, rescale.intercept, rescale.padding)


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
    slope = next((item.RescaleSlope for item in holders if item.get("RescaleSlope") is not None), None)
    intercept = next(
        (item.RescaleIntercept for item in holders if item.get("RescaleIntercept") is not None), 0
    )
    if slope is None and "ModalityLUTSequence" in dataset:
        raise ValueError("a lookup table instead of a rescale, which no CT has")
    slope = 1 if slope is None else slope
    if not np.isfinite([float(slope), float(intercept)]).all() or float(slope) == 0:
        raise ValueError("no usable rescale slope and intercept")
    return _Rescale(float(slope), float(intercept), _padding(dataset))


def _padding(dataset: Dataset) -> tuple[int, int] | None:
    value = dataset.get("PixelPaddingValue")
    if value is None:
        return None
    limit = dataset.get("PixelPaddingRangeLimit")
    # Of the bits that are stored: some writers fill all that are allocated with the padding.
    bits, allocated = int(dataset.BitsStored), int(dataset.BitsAllocated)
    bits = bits if 0 < bits <= allocated else allocated
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
