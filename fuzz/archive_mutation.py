"""A ZIP altered: its records' fields one by one, or written anew with members and claims of another kind."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from random import Random

from fuzz import byte_mutation
from fuzz.seeds import packed
from fuzz.series_mutation import unpacked

_FIELDS: dict[bytes, tuple[tuple[int, int], ...]] = {
    b"PK\x03\x04": ((4, 2), (6, 2), (8, 2), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2)),
    b"PK\x01\x02": (
        (6, 2),
        (8, 2),
        (10, 2),
        (16, 4),
        (20, 4),
        (24, 4),
        (28, 2),
        (30, 2),
        (32, 2),
        (34, 2),
        (38, 4),
        (42, 4),
    ),
    b"PK\x05\x06": ((4, 2), (6, 2), (8, 2), (10, 2), (12, 4), (16, 4), (20, 2)),
    b"PK\x06\x06": ((4, 8), (16, 4), (20, 4), (24, 8), (32, 8), (40, 8), (48, 8)),
    b"PK\x06\x07": ((4, 4), (8, 8), (16, 4)),
}
"""Place and size of the fields of each record (APPNOTE 4.3)."""

_NAMES = (
    b"a", b"", b"/", b"a/", b"a\\", b"../a", b"..\\a", b"/etc/passwd", b"C:\\a", b"a/../../b", b"//host/a",
    b"a\0b", b"DICOMDIR", b"x/dicomdir", b"META-INF/", b"mimetype", b"\xff\xfe", b"\x80", "ä".encode(),
    b"a" * 5000, b".", b"..", b"CON", b"a:b", b"000001", b"~", b"%2e%2e/a", b"\xe2\x80\xae",
)  # fmt: skip
_MODES = (0, 0o100644, 0o040755, 0o120777, 0o060644, 0o010644, 0o140644, 0o104755)
_METHODS = (0, 8, 0, 8, 0, 8, 1, 6, 9, 12, 14, 93, 95, 97, 98, 99, 65535)
_FLAGS = (0, 0, 0, 1, 8, 0x20, 0x40, 0x800, 0x2000, 0xFFFF)
_MOST_MEMBERS = 300


@dataclass
class _Member:
    """A member as it is to be written; `claims` stand in the records in place of the truth."""

    name: bytes
    content: bytes
    method: int
    flags: int = 0
    mode: int = 0
    extra: bytes = b""
    packed: bytes | None = None
    crc: int | None = None
    size: int | None = None
    header: int | None = None


def mutate_archive(content: bytes, rng: Random) -> bytes:
    """An archive altered in one place or a few."""
    kind = rng.random()
    if kind < 0.15:
        return byte_mutation.altered(content, rng)
    if kind < 0.55:
        data = bytearray(content)
        for _ in range(rng.choice((1, 1, 2, 3))):
            _field(data, rng)
        return bytes(data)
    members = [
        _Member(b"%d" % number, member, rng.choice((0, 8))) for number, member in enumerate(unpacked(content))
    ]
    for _ in range(rng.choice((1, 1, 2, 3))):
        _alter(members, rng)
    return _write(members, rng)


def _field(data: bytearray, rng: Random) -> None:
    """A field of a record changed in its place, or a record removed, repeated or moved."""
    magic = rng.choice(list(_FIELDS))
    places = [place for place in range(len(data)) if data.startswith(magic, place)]
    if not places:
        return
    start = rng.choice(places)
    if rng.random() < 0.15:
        end = min((place for place in places if place > start), default=start + 46)
        record = data[start:end]
        kind = rng.randrange(3)
        if kind < 2:
            del data[start:end]
        if kind > 0:
            place = rng.randrange(len(data) + 1)
            data[place:place] = record
        return
    offset, size = rng.choice(_FIELDS[magic])
    value = int.from_bytes(data[start + offset : start + offset + size], "little")
    value = rng.choice(
        (
            *byte_mutation.NUMBERS,
            value + 1,
            value - 1,
            value * 2,
            start,
            len(data),
            value ^ 1 << rng.randrange(16),
        )
    )
    data[start + offset : start + offset + size] = (value & ((1 << 8 * size) - 1)).to_bytes(size, "little")


def _alter(members: list[_Member], rng: Random) -> None:
    if not members or rng.random() < 0.15:
        members.append(
            _Member(rng.choice(_NAMES), rng.choice((b"", b"x", bytes(1 << 16))), rng.choice((0, 8)))
        )
    member = rng.choice(members)
    kind = rng.random()
    if kind < 0.15:
        members += [member] * rng.choice((1, 2, 40, _MOST_MEMBERS))
        del members[_MOST_MEMBERS:]
    elif kind < 0.2:
        members.reverse()
    elif kind < 0.6:
        _other_claims(member, rng)
    else:
        _other_content(member, rng)


def _other_claims(member: _Member, rng: Random) -> None:
    """A member that says other things of itself."""
    kind = rng.randrange(6)
    if kind == 0:
        member.name = rng.choice(_NAMES)
    elif kind == 1:
        member.mode = rng.choice(_MODES)
    elif kind == 2:
        member.flags = rng.choice(_FLAGS)
    elif kind == 3:
        member.crc = rng.choice((0, 0xFFFFFFFF, None))
    elif kind == 4:
        member.size = rng.choice(byte_mutation.NUMBERS) & 0xFFFFFFFF
    else:
        member.header = rng.choice((0, 1, 4, 30, 1 << 16, (1 << 32) - 1))


def _other_content(member: _Member, rng: Random) -> None:
    """A member that holds other bytes, or holds them in another way."""
    kind = rng.randrange(5)
    if kind == 0:
        member.method = rng.choice(_METHODS)
    elif kind == 1:
        member.content = packed([member.content] * rng.choice((0, 1, 2)), method=rng.choice((0, 8)))
    elif kind == 2:
        member.content = bytes(rng.choice((1 << 16, 1 << 20, 9 << 20)))
        member.method = 8
    elif kind == 3:
        member.packed = byte_mutation.altered(deflated(member.content), rng)
    else:
        member.extra = _extra(rng)


def _extra(rng: Random) -> bytes:
    """An extra field: ZIP64 (4.5.3) of any length, or another."""
    body = b"".join(struct.pack("<Q", rng.choice(byte_mutation.NUMBERS)) for _ in range(rng.randrange(5)))
    kind, size = rng.choice(((1, len(body)), (1, len(body)), (0x7075, 3), (1, 0xFFFF), (0x9901, 7)))
    return struct.pack("<HH", kind, size) + body[: rng.choice((len(body), 3))]


def deflated(content: bytes) -> bytes:
    """A raw deflate stream."""
    squeeze = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    return squeeze.compress(content) + squeeze.flush()


def _write(members: list[_Member], rng: Random) -> bytes:
    """Local headers, data, directory and end, as the members want them."""
    archive, directory = io.BytesIO(), io.BytesIO()
    if rng.random() < 0.05:
        archive.write(rng.choice((b"PK\x07\x08", b"MZ", b"#!/bin/sh\n", bytes(300))))
    for member in members:
        start = archive.tell()
        data = member.packed
        if data is None:
            data = deflated(member.content) if member.method == 8 else member.content
        crc = zlib.crc32(member.content) if member.crc is None else member.crc
        size = len(member.content) if member.size is None else member.size
        claims = struct.pack(
            "<4H3L2H", member.flags, member.method, 0, 0x5821, crc, len(data), size,
            len(member.name), len(member.extra),
        )  # fmt: skip
        archive.write(b"PK\x03\x04\x14\0" + claims + member.name + member.extra + data)
        header = start if member.header is None else member.header
        directory.write(
            b"PK\x01\x02\x14\x03\x14\0" + claims + struct.pack("<3H2L", 0, 0, 0, member.mode << 16, header)
            + member.name + member.extra
        )  # fmt: skip
    entries, start = directory.getvalue(), archive.tell()
    archive.write(entries)
    if rng.random() < 0.1:
        claimed = rng.choice((len(members), 1 << 40))
        archive.write(
            struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, claimed, claimed, len(entries), start)
        )
        archive.write(struct.pack("<4sLQL", b"PK\x06\x07", 0, start + len(entries), 1))
        archive.write(
            struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, (1 << 32) - 1, (1 << 32) - 1, 0)
        )
        return archive.getvalue()
    count = len(members) & 0xFFFF
    comment = rng.choice((b"", b"", b"", b"PK\x05\x06", bytes(300)))
    archive.write(
        struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, len(entries), start, len(comment))
        + comment
    )
    return archive.getvalue()
