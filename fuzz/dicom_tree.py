"""A DICOM file as a tree that can be altered and written again, its lengths right or lying (PS3.5 section 7).

Not a parser to be trusted: it takes what this package itself wrote and altered, gives up with `ValueError` on
what it does not understand, and keeps the bytes after that place as they are.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field

from pydicom.datadict import dictionary_VR
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

UNDEFINED = 0xFFFFFFFF
PIXEL_DATA = 0x7FE00010
TRANSFER_SYNTAX = 0x00020010
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_LONG = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
_DEEPEST = 60
_HEAD = 132


@dataclass
class Item:
    """One item of a sequence; `length` is what its length field says, None for the truth."""

    elements: list[Element]
    length: int | None = None


@dataclass
class Element:
    """One element: `value` are its bytes, or its items; `length` is what its length field says, None for the
    truth."""

    tag: int
    vr: bytes
    value: bytes | list[Item]
    length: int | None = None


@dataclass
class DicomFile:
    """Preamble, meta elements, elements; `tail` is what came after the last one that was understood.

    `syntax` says how the elements are encoded, whatever the meta elements say.
    """

    preamble: bytes
    meta: list[Element]
    elements: list[Element]
    syntax: str
    tail: bytes = b""

    def element(self, tag: int) -> Element | None:
        """The element of a tag, at the top level."""
        return next((item for item in self.elements if item.tag == tag), None)

    @property
    def lists(self) -> list[list[Element]]:
        """Every list of elements in the file: the top level, and those of all items."""
        found = [self.elements]
        for elements in found:
            for element in elements:
                if isinstance(element.value, list):
                    found.extend(item.elements for item in element.value)
        return found


def parse(content: bytes) -> DicomFile:
    """The tree of a file.

    Raises
    ------
    ValueError
        If there is none.
    """
    if content[_HEAD - 4 : _HEAD] != b"DICM":
        raise ValueError("no DICOM file")
    reader = _Reader(content, _HEAD, implicit=False, big=False)
    meta = reader.elements(group=2)
    syntax = next((element.value for element in meta if element.tag == TRANSFER_SYNTAX), b"")
    uid = syntax.rstrip(b"\0 ").decode("latin-1") if isinstance(syntax, bytes) else ""
    body = content[reader.place :]
    if uid == DeflatedExplicitVRLittleEndian:
        try:
            body = zlib.decompressobj(-zlib.MAX_WBITS).decompress(body, 1 << 22)
        except zlib.error as error:
            raise ValueError("the deflated part is damaged") from error
    rest = _Reader(body, 0, implicit=uid == ImplicitVRLittleEndian, big=uid == ExplicitVRBigEndian)
    elements = rest.elements()
    if not elements:
        raise ValueError("no elements")
    return DicomFile(content[: _HEAD - 4], meta, elements, uid, body[rest.place :])


def write(file: DicomFile) -> bytes:
    """The bytes of a tree."""
    writer = _Writer(implicit=file.syntax == ImplicitVRLittleEndian, big=file.syntax == ExplicitVRBigEndian)
    body = writer.elements(file.elements) + file.tail
    if file.syntax == DeflatedExplicitVRLittleEndian:
        squeeze = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
        body = squeeze.compress(body) + squeeze.flush()
    meta = _Writer(implicit=False, big=False).elements(file.meta)
    return file.preamble + b"DICM" + meta + body


def state_syntax(file: DicomFile, uid: str) -> None:
    """Let the meta elements name a transfer syntax."""
    value = uid.encode("latin-1")
    for element in file.meta:
        if element.tag == TRANSFER_SYNTAX:
            element.value = value + b"\0" * (len(value) % 2)


def encode_as(file: DicomFile, uid: str) -> None:
    """Let a file be in a transfer syntax and say so; its pixels stay as they are."""
    file.syntax = uid
    state_syntax(file, uid)


@dataclass
class _Reader:
    content: bytes
    place: int
    implicit: bool
    big: bool
    depth: int = field(default=0)

    def elements(self, stop: int | None = None, group: int | None = None) -> list[Element]:
        """Elements up to a place, the end of a group, or a delimiter, which is read too."""
        stop = len(self.content) if stop is None else min(stop, len(self.content))
        found: list[Element] = []
        while self.place + 8 <= stop:
            start = self.place
            tag = self._tag()
            if tag >> 16 == 0xFFFE or (group is not None and tag >> 16 != group):
                if tag != _ITEM_END:
                    self.place = start
                else:
                    self.place += 4
                break
            try:
                found.append(self._element(tag, stop))
            except (struct.error, ValueError):
                self.place = start
                break
        return found

    def _element(self, tag: int, stop: int) -> Element:
        vr = self._vr(tag)
        length = self._number("I" if self.implicit or vr in _LONG else "H")
        if tag == PIXEL_DATA and length == UNDEFINED:
            value, self.place = self.content[self.place : stop], stop
            return Element(tag, vr, value, UNDEFINED)
        if vr == b"SQ":
            return Element(tag, vr, self._items(stop, length), UNDEFINED if length == UNDEFINED else None)
        if self.place + length > stop:
            raise ValueError("an element beyond the end")
        value, self.place = self.content[self.place : self.place + length], self.place + length
        return Element(tag, vr, value)

    def _vr(self, tag: int) -> bytes:
        if not self.implicit:
            vr, self.place = self.content[self.place : self.place + 2], self.place + 2
            if not vr.isalpha() or not vr.isupper():
                raise ValueError("no VR")
            if vr in _LONG:
                self.place += 2
            return vr
        try:
            return dictionary_VR(tag)[:2].encode()
        except KeyError:
            return b"UN"

    def _items(self, stop: int, length: int) -> list[Item]:
        if self.depth == _DEEPEST:
            raise ValueError("nested too deep to be altered")
        self.depth += 1
        try:
            return self._each_item(stop, length)
        finally:
            self.depth -= 1

    def _each_item(self, stop: int, length: int) -> list[Item]:
        end = stop if length == UNDEFINED else self.place + length
        items: list[Item] = []
        while self.place + 8 <= min(end, stop):
            tag, size = self._tag(), self._number("I")
            if tag == _SEQUENCE_END:
                break
            if tag != _ITEM:
                raise ValueError("no item")
            inner = end if size == UNDEFINED else self.place + size
            items.append(Item(self.elements(inner), UNDEFINED if size == UNDEFINED else None))
            if size != UNDEFINED:
                self.place = min(inner, stop)
        return items

    def _tag(self) -> int:
        return self._number("H") << 16 | self._number("H")

    def _number(self, form: str) -> int:
        form = (">" if self.big else "<") + form
        (value,) = struct.unpack_from(form, self.content, self.place)
        self.place += struct.calcsize(form)
        return int(value)


@dataclass(frozen=True)
class _Writer:
    implicit: bool
    big: bool

    def elements(self, elements: list[Element]) -> bytes:
        return b"".join(map(self._element, elements))

    def _element(self, element: Element) -> bytes:
        value = element.value if isinstance(element.value, bytes) else self._items(element.value)
        if isinstance(element.value, list) and element.length == UNDEFINED:
            value += self._tag(_SEQUENCE_END) + self._number("I", 0)
        length = len(value) if element.length is None else element.length
        head = self._tag(element.tag)
        if self.implicit:
            return head + self._number("I", length) + value
        vr = element.vr.ljust(2, b"\0")[:2]
        if vr in _LONG:
            return head + vr + b"\0\0" + self._number("I", length) + value
        return head + vr + self._number("H", length) + value

    def _items(self, items: list[Item]) -> bytes:
        parts: list[bytes] = []
        for item in items:
            value = self.elements(item.elements)
            length = len(value) if item.length is None else item.length
            parts += [self._tag(_ITEM), self._number("I", length), value]
            if item.length == UNDEFINED:
                parts += [self._tag(_ITEM_END), self._number("I", 0)]
        return b"".join(parts)

    def _tag(self, tag: int) -> bytes:
        return self._number("H", tag >> 16) + self._number("H", tag)

    def _number(self, form: str, value: int) -> bytes:
        size = struct.calcsize(form)
        return (value & ((1 << 8 * size) - 1)).to_bytes(size, "big" if self.big else "little")


NATIVE = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
"""Transfer syntaxes whose elements are encoded differently."""
