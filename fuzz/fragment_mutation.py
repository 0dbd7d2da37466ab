"""Encapsulated pixel data (PS3.5 annex A.4) altered: offsets, fragments, and the codestreams in them."""

from __future__ import annotations

import struct
from random import Random

from fuzz import byte_mutation

_ITEM = b"\xfe\xff\x00\xe0"
_END = b"\xfe\xff\xdd\xe0\0\0\0\0"
_CODESTREAM_HEAD = 160
"""Where a codestream says how large its image is and how it is coded."""


def alter_fragments(content: bytes, rng: Random) -> bytes:
    """Item stream of the Pixel Data element, from its offset table to its delimiter, altered in one place."""
    fragments = split(content)
    if not fragments:
        return byte_mutation.altered(content, rng)
    place = rng.randrange(len(fragments))
    kind = rng.randrange(9)
    if kind == 0:
        del fragments[place]
    elif kind == 1:
        fragments.insert(place, fragments[rng.randrange(len(fragments))])
    elif kind == 2:
        middle = len(fragments[place]) // 4 * 2
        fragments[place : place + 1] = [fragments[place][:middle], fragments[place][middle:]]
    elif kind == 3:
        fragments[0] = _offsets(rng)
    elif kind == 4:
        fragments[place] = b""
    elif kind == 5:
        fragments = [b"", b"".join(fragments)]
    elif kind == 6:
        joined = join(fragments)
        return joined[: rng.randrange(len(joined))]
    else:
        fragments[place] = _codestream(fragments[place], rng)
    altered = bytearray(join(fragments))
    if rng.random() < 0.1:  # a lying length
        start = altered.rfind(_ITEM)
        altered[start + 4 : start + 8] = struct.pack("<I", rng.choice((0, 1, 0xFFFF, 1 << 31, (1 << 32) - 1)))
    return bytes(altered)


def split(content: bytes) -> list[bytes]:
    """The items: an offset table, then fragments."""
    fragments: list[bytes] = []
    place = 0
    while content[place : place + 4] == _ITEM and place + 8 <= len(content):
        (size,) = struct.unpack_from("<I", content, place + 4)
        fragments.append(content[place + 8 : place + 8 + size])
        place += 8 + size
    return fragments


def join(fragments: list[bytes]) -> bytes:
    """The items and their end."""
    return b"".join(_ITEM + struct.pack("<I", len(item)) + item for item in fragments) + _END


def _offsets(rng: Random) -> bytes:
    count = rng.choice((1, 2, 24, 1000))
    return b"".join(struct.pack("<I", rng.choice((0, 1, 8, 0xFFFF, (1 << 32) - 1))) for _ in range(count))


def _codestream(content: bytes, rng: Random) -> bytes:
    """A codestream altered, mostly where it describes itself."""
    data = bytearray(content)
    if not data:
        return rng.randbytes(16)
    for _ in range(rng.choice((1, 1, 2, 4))):
        near = min(len(data), _CODESTREAM_HEAD) if rng.random() < 0.7 else len(data)
        place = rng.randrange(near)
        if rng.random() < 0.5:
            byte_mutation.number(data, place, rng)
        else:
            data[place] = rng.randrange(256)
    if rng.random() < 0.2:
        del data[rng.randrange(len(data)) :]
    return bytes(data)
