"""A NIfTI volume altered: header fields (NIfTI-1 and NIfTI-2), extensions, voxels, compression."""

from __future__ import annotations

import gzip
import struct
import zlib
from random import Random
from typing import Any

from fuzz import byte_mutation

_NIFTI_1 = (
    (0, "i"), (40, "8h"), (70, "h"), (72, "h"), (76, "8f"), (108, "f"), (112, "f"), (116, "f"), (123, "B"),
    (252, "h"), (254, "h"), (256, "6f"), (280, "12f"), (344, "4s"), (348, "4B"),
)  # fmt: skip
_NIFTI_2 = (
    (0, "i"), (12, "h"), (14, "h"), (16, "8q"), (104, "8d"), (168, "q"), (176, "d"), (184, "d"), (344, "i"),
    (348, "i"), (352, "6d"), (400, "12d"), (500, "i"), (540, "4B"),
)  # fmt: skip
"""Place and form of the fields that a reader uses (nifti1.h, nifti2.h)."""

_DATATYPES = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 768, 1024, 1280, 1536, 1792, 2048, 2304, -1, 3)
_FLOATS = (
    0.0, -0.0, 1.0, -1.0, 0.5, 1e-40, 1e-30, 1e30, 3e38, 3000.0, 0.001, float("nan"), float("inf"),
    -float("inf"),
)  # fmt: skip
_LARGEST = 1 << 22


def mutate_nifti(content: bytes, rng: Random) -> bytes:
    """A volume altered in one place or a few, gzipped or not; or its gzip stream altered."""
    squeezed = content.startswith(b"\x1f\x8b")
    if squeezed and rng.random() < 0.2:
        return byte_mutation.altered(content, rng)
    if squeezed:
        try:
            content = zlib.decompressobj(31).decompress(content, _LARGEST)
        except zlib.error:
            return byte_mutation.altered(content, rng)
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        _alter(data, rng)
    result = bytes(data)
    return gzip.compress(result, 1, mtime=0) if rng.random() < (0.7 if squeezed else 0.1) else result


def _alter(data: bytearray, rng: Random) -> None:
    kind = rng.random()
    if kind < 0.75:
        _field(data, rng)
    elif kind < 0.8:
        data[:] = data[: rng.choice((4, 347, 348, 352, 540, 544, len(data) // 2, max(len(data) - 1, 0)))]
    elif kind < 0.85:
        data += bytes(rng.choice((1, 16, 1 << 16)))
    elif kind < 0.9:
        place = rng.choice((348, 540))
        size, code = rng.choice((0, 8, 16, 24, 1 << 20, -8)), rng.choice((0, 2, 4, 6, 44))
        data[place : place + 12] = b"\1\0\0\0" + struct.pack("<2i", size, code)
    else:
        data[:] = byte_mutation.altered(bytes(data), rng)


def _field(data: bytearray, rng: Random) -> None:
    second = int.from_bytes(data[:4], "little") == 540
    place, form = rng.choice(_NIFTI_2 if second else _NIFTI_1)
    if place == (12 if second else 70):
        values: list[Any] = [rng.choice(_DATATYPES)]
    elif form.endswith("s"):
        values = [rng.choice((b"n+1\0", b"ni1\0", b"n+2\0", b"\0\0\0\0", b"n+1 "))]
    else:
        values = _numbers(data, place, form, rng)
    order = "<" if rng.random() < 0.97 else ">"
    data[place : place + struct.calcsize(order + form)] = struct.pack(order + form, *values)
    if rng.random() < 0.02:
        _swap(data, second=second)


def _numbers(data: bytearray, place: int, form: str, rng: Random) -> list[Any]:
    """What stands in a field with some of its numbers changed."""
    size = struct.calcsize("<" + form)
    values = list(struct.unpack("<" + form, bytes(data[place : place + size]).ljust(size, b"\0")))
    for _ in range(rng.choice((1, 1, 2, 8))):
        index = rng.randrange(len(values))
        if form[-1] in "fd":
            values[index] = rng.choice((*_FLOATS, values[index] * 1.02, values[index] * 1e3, -values[index]))
        else:
            bits = 8 * struct.calcsize("<" + form[-1])
            number = rng.choice((*byte_mutation.NUMBERS, values[index] + 1, values[index] - 1)) & (
                (1 << bits) - 1
            )
            signed = form[-1] in "hiq"
            values[index] = number - (1 << bits) if signed and number >> (bits - 1) else number
    if form[-1] == "f":
        values = [min(max(value, -3e38), 3e38) if abs(value) < float("inf") else value for value in values]
    return values


def _swap(data: bytearray, *, second: bool) -> None:
    """The header in the other byte order; the voxels stay."""
    for place, form in _NIFTI_2 if second else _NIFTI_1:
        size = struct.calcsize("<" + form)
        values = struct.unpack("<" + form, bytes(data[place : place + size]).ljust(size, b"\0"))
        data[place : place + size] = struct.pack(">" + form, *values)
