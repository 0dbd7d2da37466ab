"""A DICOM file altered where readers go wrong: values, VRs, lengths, nesting, syntaxes, functional groups."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import cache
from random import Random

from pydicom._uid_dict import UID_dictionary

from fuzz import byte_mutation
from fuzz.dicom_tree import (
    NATIVE,
    PIXEL_DATA,
    UNDEFINED,
    DicomFile,
    Element,
    Item,
    encode_as,
    parse,
    state_syntax,
    write,
)
from fuzz.fragment_mutation import alter_fragments
from fuzz.seeds import instances

_VRS = (
    b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"OB", b"OD", b"OF",
    b"OL", b"OV", b"OW", b"PN", b"SH", b"SL", b"SQ", b"SS", b"ST", b"SV", b"TM", b"UC", b"UI", b"UL", b"UN",
    b"UR", b"US", b"UT", b"UV", b"XX", b"\0\0", b"ox",
)  # fmt: skip
_BINARY = {b"US": 2, b"SS": 2, b"UL": 4, b"SL": 4, b"UV": 8, b"SV": 8, b"FL": 4, b"FD": 8, b"AT": 4}
_SYNTAXES = tuple(uid for uid, about in UID_dictionary.items() if about[1] == "Transfer Syntax")
_TAGS = (
    0x00020010, 0x00080005, 0x00080008, 0x00080016, 0x00080018, 0x0008002A, 0x00080032, 0x00080060,
    0x0008103E, 0x00100020, 0x00180015, 0x00180050, 0x00180060, 0x00181060, 0x00181210, 0x0020000D,
    0x0020000E, 0x00200011, 0x00200012, 0x00200013, 0x00200032, 0x00200037, 0x00200052, 0x00280002,
    0x00280004, 0x00280006, 0x00280008, 0x00280010, 0x00280011, 0x00280030, 0x00280100, 0x00280101,
    0x00280102, 0x00280103, 0x00280120, 0x00280121, 0x00281052, 0x00281053, 0x00281054, 0x00283000,
    0x00289145, 0x00209111, 0x00209113, 0x00209116, 0x00289110, 0x52009229, 0x52009230, 0x7FE00001,
    0x7FE00002, 0x7FE00003, 0x7FE00008, 0x7FE00009, 0x7FE00010, 0x00290010, 0x00291010, 0x60003000,
    0x00041220, 0xFFFAFFFA, 0xFFFCFFFC, 0xFFFEE00D, 0x00000000,
)  # fmt: skip
"""Elements that decide what is read, and some that do not belong."""

_GROUPS = (0x52009229, 0x52009230)
_OPENED = b"\xfe\xff\x00\xe0\xff\xff\xff\xff\x40\x00\x75\x02SQ\0\0\xff\xff\xff\xff"
_CLOSED = b"\xfe\xff\xdd\xe0\0\0\0\0\xfe\xff\x0d\xe0\0\0\0\0"


def mutate_file(content: bytes, rng: Random) -> bytes:
    """A file altered in one place or a few; one that cannot be understood has its bytes altered."""
    if rng.random() < 0.1:
        return byte_mutation.altered(content, rng)
    try:
        file = parse(content)
    except ValueError:
        return byte_mutation.altered(content, rng)
    alter(file, rng)
    return write(file)


def alter(file: DicomFile, rng: Random) -> None:
    """Alter a tree in one place or a few."""
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        rng.choice(_ALTERATIONS)(file, rng)


def _elements(file: DicomFile, rng: Random) -> list[Element]:
    """The elements of the file, of one of its items, or its meta elements."""
    chosen = rng.random()
    if chosen < 0.5:
        return file.elements
    return file.meta if chosen < 0.6 else rng.choice(file.lists)


def _one(file: DicomFile, rng: Random) -> Element | None:
    elements = _elements(file, rng)
    known = [element for element in elements if element.tag in _TAGS]
    if known and rng.random() < 0.7:
        return rng.choice(known)
    return rng.choice(elements) if elements else None


def _value(file: DicomFile, rng: Random) -> None:
    """Another value, such as its VR has or not."""
    element = _one(file, rng)
    if element is None:
        return
    size = _BINARY.get(element.vr, 0)
    if size and rng.random() < 0.8:
        numbers = [rng.choice(byte_mutation.NUMBERS) for _ in range(rng.choice((1, 1, 1, 0, 2, 3)))]
        element.value = b"".join((n & ((1 << 8 * size) - 1)).to_bytes(size, "little") for n in numbers)
    elif isinstance(element.value, bytes) and rng.random() < 0.3:
        element.value = byte_mutation.altered(element.value[: 1 << 16], rng)
    else:
        element.value = byte_mutation.text(rng)


def _length(file: DicomFile, rng: Random) -> None:
    """A length that is not the value's."""
    element = _one(file, rng)
    if element is not None:
        size = len(element.value)
        element.length = rng.choice(
            (0, 1, size - 1, size + 1, size + 2, 0xFFFF, 1 << 31, UNDEFINED - 1, UNDEFINED)
        )


def _vr(file: DicomFile, rng: Random) -> None:
    element = _one(file, rng)
    if element is not None:
        element.vr = rng.choice(_VRS)


def _tag(file: DicomFile, rng: Random) -> None:
    element = _one(file, rng)
    if element is not None:
        element.tag = rng.choice(_TAGS) if rng.random() < 0.8 else rng.randrange(1 << 32)


def _remove(file: DicomFile, rng: Random) -> None:
    elements = _elements(file, rng)
    element = _one(file, rng)
    if element in elements:
        elements.remove(element)


def _repeat(file: DicomFile, rng: Random) -> None:
    """An element twice, or out of its place."""
    elements = _elements(file, rng)
    if elements:
        elements.insert(rng.randrange(len(elements) + 1), deepcopy(rng.choice(elements)))


def _add(file: DicomFile, rng: Random) -> None:
    """An element that was not there."""
    elements = _elements(file, rng)
    value = byte_mutation.text(rng) if rng.random() < 0.7 else bytes(rng.choice((2, 4, 6, 8, 12, 48)))
    new = Element(rng.choice(_TAGS), rng.choice(_VRS), value)
    if rng.random() < 0.5:
        elements[:] = [element for element in elements if element.tag != new.tag]
    elements.append(new)
    if rng.random() < 0.8:
        elements.sort(key=lambda element: element.tag)


def _nest(file: DicomFile, rng: Random) -> None:
    """Elements within sequences, a few deep or very many."""
    elements = _elements(file, rng)
    length = rng.choice((None, UNDEFINED))
    inner = deepcopy(elements[:3])
    for _ in range(rng.choice((1, 2, 10))):
        inner = [Element(rng.choice((0x00400275, *_GROUPS)), b"SQ", [Item(inner, length)], length)]
    if rng.random() < 0.3:
        depth = rng.choice((50, 300, 1100, 5000))
        inner = [Element(0x00400275, b"SQ", _OPENED * depth + _CLOSED * rng.choice((0, depth - 1, depth)))]
    elements[:] = sorted([*elements, *inner], key=lambda element: element.tag)


def _items(file: DicomFile, rng: Random) -> None:
    """Items of a sequence removed, repeated, swapped, emptied, or their lengths wrong."""
    sequences = [
        element
        for elements in file.lists
        for element in elements
        if isinstance(element.value, list) and element.value
    ]
    if not sequences:
        return
    groups = [element for element in sequences if element.tag in _GROUPS]
    sequence = rng.choice(groups) if groups and rng.random() < 0.5 else rng.choice(sequences)
    items = sequence.value
    if not isinstance(items, list):
        return
    place = rng.randrange(len(items))
    kind = rng.randrange(6)
    if kind == 0:
        del items[place]
    elif kind == 1:
        items.insert(rng.randrange(len(items) + 1), deepcopy(items[place]))
    elif kind == 2:
        other = rng.randrange(len(items))
        items[place], items[other] = items[other], items[place]
    elif kind == 3:
        items[place].elements = []
    elif kind == 4:
        items[place].length = rng.choice((0, 1, 8, 0xFFFF, UNDEFINED - 1, UNDEFINED))
    else:
        sequence.length = rng.choice((0, 8, UNDEFINED - 1, UNDEFINED))


def _syntax(file: DicomFile, rng: Random) -> None:
    """Another transfer syntax, in truth or in words alone."""
    if rng.random() < 0.5:
        encode_as(file, rng.choice(NATIVE))
    elif rng.random() < 0.8:
        state_syntax(file, rng.choice(_SYNTAXES))
    else:
        state_syntax(file, byte_mutation.text(rng).decode("latin-1"))


def _pixels(file: DicomFile, rng: Random) -> None:
    """Other pixels: fragments altered, those of another syntax, more or fewer bytes."""
    pixels = file.element(PIXEL_DATA)
    if pixels is None or not isinstance(pixels.value, bytes):
        return
    if pixels.length == UNDEFINED and rng.random() < 0.8:
        pixels.value = alter_fragments(pixels.value, rng)
    elif rng.random() < 0.5:
        other = rng.choice(_pixels_of_seeds())
        pixels.value, pixels.length, pixels.vr = other.value, other.length, other.vr
    else:
        pixels.value = byte_mutation.altered(pixels.value[: 1 << 16], rng)


@cache
def _pixels_of_seeds() -> tuple[Element, ...]:
    found = (parse(content).element(PIXEL_DATA) for content in instances())
    return tuple(element for element in found if element is not None)


def _preamble(file: DicomFile, rng: Random) -> None:
    file.preamble = rng.choice(
        (b"MZ".ljust(128, b"\0"), b"", b"\xff" * 128, bytes(127), b"\x7fELF".ljust(128))
    )


def _meta(file: DicomFile, rng: Random) -> None:
    """No meta elements, or those of the file in the midst of others."""
    file.meta = rng.choice(([], [*file.meta, *file.meta], file.meta[::-1], file.meta[:1]))


def _end(file: DicomFile, rng: Random) -> None:
    file.tail = rng.choice(
        (
            b"",
            b"\0",
            rng.randbytes(12),
            b"\xfe\xff\xdd\xe0\0\0\0\0",
            b"\xfc\xff\xfc\xffOB\0\0\xff\xff\xff\xff",
        )
    )


_ALTERATIONS: tuple[Callable[[DicomFile, Random], None], ...] = (
    *[_value] * 5, *[_pixels] * 4, *[_items] * 3, *[_add] * 3, *[_length] * 2, *[_vr] * 2, _tag, _remove,
    _repeat, _nest, _syntax, _preamble, _meta, _end,
)  # fmt: skip
