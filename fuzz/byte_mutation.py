"""Bytes altered without knowledge of what they mean, and values that readers get wrong."""

from __future__ import annotations

from random import Random

NUMBERS = (
    0, 1, 2, 3, 7, 8, 12, 16, 31, 32, 63, 64, 127, 128, 254, 255, 256, 1000, 4096, 8192, 8193, 32767, 32768,
    65534, 65535, 65536, 1 << 24, (1 << 31) - 1, 1 << 31, (1 << 32) - 16, (1 << 32) - 1, 1 << 32,
    (1 << 63) - 1, 1 << 63, (1 << 64) - 1,
)  # fmt: skip
"""Where counts, sizes and signs change."""

TEXTS = (
    b"", b" ", b"\0", b"0", b"1", b"-1", b"+2", b"3.", b".5", b"1.5", b"-0", b"NaN", b"inf", b"-inf",
    b"1e400", b"1e308", b"-1e308", b"1e-400", b"5e-324", b"1e5", b"65535", b"65536", b"2147483648",
    b"99999999999999999999", b"9" * 5000, b"1_0", b"0x10", b"1,5", b"\xd9\xa1", b"\xef\xbc\x91", b"1\\2",
    b"1\\2\\3", b"\\", b"\\\\\\\\\\", b"1\\", b"\\1", b"1\\NaN\\3", b"0\\0\\0", b"1\\0\\0\\0\\1\\0",
    b"0\\1\\0\\1\\0\\0", b"1\\0\\0\\0\\0\\1", b"0.9\\0\\0.43589\\0\\1\\0", b"1e3\\1e3", b"1e-9\\1e-9",
    b"A" * 70000, b"\x1b$B", b"\x1b(J\xff", b"\xff\xfe", b"CT", b"ORIGINAL\\PRIMARY\\AXIAL", b"DERIVED",
    b"20250101", b"99999999", b"246060.999999", b"2025", b"ISO_IR 100", b"ISO_IR 192", b"\\ISO 2022 IR 87",
    b"GBK", b"ISO_IR 999", b"utf-8", b"idna", b"../../etc/passwd", b"<script>",
    b"1.2.840.10008.5.1.4.1.1.2", b"1.2.840.10008.5.1.4.1.1.2.1", b"1.2.840.10008.1.3.10",
    b"1." * 60 + b"1", b"..", b"0.0", b"HU", b"US", b"MONOCHROME1", b"RGB", b"YBR_FULL_422",
    b"PALETTE COLOR", b"%s%n", b"{0}",
)  # fmt: skip
"""Values of text that readers get wrong, and some that they know."""

_MOST_BYTES = 1 << 18


def altered(content: bytes, rng: Random) -> bytes:
    """A few bytes changed, removed, repeated, moved or added, or the end cut off."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4))):
        place = rng.randrange(len(data) + 1)
        size = rng.choice((1, 1, 2, 4, 8, 64, 512))
        kind = rng.randrange(8)
        if kind == 0 and data:
            data[place % len(data)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[place : place + size] = rng.randbytes(min(size, len(data) - place))
        elif kind == 2:
            del data[place : place + size]
        elif kind == 3:
            data[place:place] = data[place : place + size] * rng.choice((1, 2, 16))
        elif kind == 4:
            data[place:place] = rng.choice((bytes(size), b"\xff" * size, rng.randbytes(size)))
        elif kind == 5:
            del data[place:]
        elif kind == 6:
            other = rng.randrange(len(data) + 1)
            data[place : place + size] = data[other : other + size]
        else:
            number(data, place, rng)
    return bytes(data[:_MOST_BYTES])


def number(data: bytearray, place: int, rng: Random) -> None:
    """Write a number that readers get wrong over what stands at a place."""
    size = rng.choice((1, 2, 4, 8))
    value = rng.choice(NUMBERS) & ((1 << 8 * size) - 1)
    data[place : place + size] = value.to_bytes(size, rng.choice(("little", "big")))


def text(rng: Random) -> bytes:
    """A value of text, of even length as DICOM wants it (PS3.5 section 6.2)."""
    value = rng.choice(TEXTS)
    return value + b" " * (len(value) % 2)
