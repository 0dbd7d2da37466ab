"""Sizes in the words of a sentence."""

from __future__ import annotations

_UNITS = ("bytes", "kB", "MB", "GB", "TB")


def size_in_words(size_bytes: int) -> str:
    """`4294967296` as "4.29 GB": decimal units, three digits."""
    value, unit = float(size_bytes), 0
    while value >= 1000 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.3g} {_UNITS[unit]}"
