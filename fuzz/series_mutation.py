"""The files of a study altered together: files missing, twice or broken, and what must agree among them."""

from __future__ import annotations

import io
import lzma
import zipfile
import zlib
from random import Random

from fuzz import byte_mutation
from fuzz.dicom_mutation import alter, mutate_file
from fuzz.dicom_tree import Element, parse, write
from fuzz.seeds import instances, packed

_TOGETHER = (
    0x00080008, 0x00080016, 0x00080018, 0x00080060, 0x00100020, 0x00180050, 0x00181210, 0x0020000D,
    0x0020000E, 0x00200012, 0x00200032, 0x00200037, 0x00280010, 0x00280011, 0x00280030, 0x00280120,
    0x00281052, 0x00281053,
)  # fmt: skip
_PLACES = (
    b"0\\0\\0",
    b"-180\\-180\\0.0001",
    b"-180\\-180\\1e4",
    b"1e9\\0\\0",
    b"-180\\-180\\-33.5",
    b"0\\0\\NaN",
)
_ORIENTATIONS = (
    b"1\\0\\0\\0\\1\\0", b"-1\\0\\0\\0\\-1\\0", b"1\\0\\0\\0\\0\\-1", b"0\\1\\0\\0\\0\\-1",
    b"1\\0\\0\\0\\0.94\\0.34", b"0.71\\0.71\\0\\-0.71\\0.71\\0", b"1\\0\\0\\1\\0\\0", b"0\\0\\0\\0\\0\\0",
)  # fmt: skip
_MOST, _LARGEST = 64, 1 << 17
_SPACINGS = (b"0.5\\0.5", b"12\\6", b"60\\60", b"0.05\\0.05", b"12\\12.001")


def mutate_series(content: bytes, rng: Random) -> bytes:
    """The files of a ZIP, altered and packed again."""
    files = unpacked(content)
    if not files:
        return byte_mutation.altered(content, rng)
    for _ in range(rng.choice((1, 1, 2, 3))):
        _alter(files, rng)
    return packed(files, method=zipfile.ZIP_STORED)


def unpacked(content: bytes) -> list[bytes]:
    """What can be had of a ZIP."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [member for member in archive.infolist() if member.file_size <= _LARGEST]
            return [archive.read(member) for member in members[:_MOST]]
    except (
        *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, ValueError, NotImplementedError),
        *(EOFError, OSError, RuntimeError),
    ):
        return []


def _alter(files: list[bytes], rng: Random) -> None:
    kind = rng.randrange(8)
    place = rng.randrange(len(files)) if files else 0
    if not files:
        files.append(rng.choice(instances()))
    elif kind == 0:
        del files[place : place + rng.choice((1, 1, 2, 3, 8, 20))]
    elif kind == 1:
        files.insert(rng.randrange(len(files) + 1), files[place])
    elif kind == 2:
        files.insert(place, rng.choice(instances()))
    elif kind == 3:
        rng.shuffle(files)
    elif kind == 4:
        for index in range(place, min(len(files), place + rng.choice((1, 1, 2, 3)))):
            files[index] = mutate_file(files[index], rng)
    elif kind == 5:
        _same_alteration(files, rng)
    else:
        _one_value(files, rng)


def _same_alteration(files: list[bytes], rng: Random) -> None:
    """The same thing done to every file, or to the second half of them."""
    seed = rng.randrange(1 << 32)
    for index in range(rng.choice((0, 0, len(files) // 2)), len(files)):
        try:
            file = parse(files[index])
        except ValueError:
            continue
        alter(file, Random(seed))
        files[index] = write(file)


def _one_value(files: list[bytes], rng: Random) -> None:
    """One element of every file, of every other, or of one, given another value; or a place of its own."""
    tag = rng.choice(_TOGETHER)
    values = {0x00200032: _PLACES, 0x00200037: _ORIENTATIONS, 0x00280030: _SPACINGS}.get(
        tag, byte_mutation.TEXTS
    )
    value = rng.choice(values)
    start, step = rng.choice(((0, 1), (0, 1), (0, 2), (len(files) // 2, 1), (0, len(files))))
    x, y, way = rng.choice(((-180, -180, 3.0), (-180, -180, 14.0), (-180, -180, 200.0), (0, 0, 0.01)))
    lean = rng.choice((0.0, 0.0, 0.1, 0.4, 1.0))
    for index in range(start, len(files), step):
        if tag == 0x00200032 and step == 1:
            value = f"{x}\\{y + lean * way * index:.4f}\\{way * index:.4f}".encode()
        files[index] = _with_value(files[index], tag, value)


def _with_value(content: bytes, tag: int, value: bytes) -> bytes:
    try:
        file = parse(content)
    except ValueError:
        return content
    value += b" " * (len(value) % 2)
    for elements in file.lists:
        for element in elements:
            if element.tag == tag:
                element.value = value
                return write(file)
    file.elements.append(Element(tag, b"LO", value))
    file.elements.sort(key=lambda element: element.tag)
    return write(file)
