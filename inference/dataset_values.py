"""Values of a stranger's dataset: one that cannot be read counts as absent.

So a bad tag costs at most its own instance. Every function takes a keyword of the data dictionary (PS3.6).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

UNREADABLE_VALUE = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    OverflowError,
    LookupError,
    NotImplementedError,
    RecursionError,
    UserWarning,
)
"""What pydicom raises when a stranger's value is asked for."""


def items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """The items of a sequence; [] without it."""
    value = _value(dataset, keyword)
    try:
        return [item for item in value if isinstance(item, Dataset)] if value else []
    except UNREADABLE_VALUE:
        return []


def texts(dataset: Dataset, keyword: str) -> tuple[str, ...]:
    """All values as text, without what pads them."""
    value = _value(dataset, keyword)
    if value is None:
        return ()
    values = [value] if isinstance(value, str) or not isinstance(value, Sequence) else list(value)
    return tuple(str(item).strip(" \0") for item in values)


def text(dataset: Dataset, keyword: str) -> str:
    """All values as one text, "" without any."""
    return "\\".join(texts(dataset, keyword))


def is_uid(value: str) -> bool:
    """Digits and dots, at most 64 (PS3.5 section 9.1); leading zeros, which some writers have, are let be."""
    return re.fullmatch(r"[0-9.]{1,64}", value) is not None


def numbers(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """Exactly so many finite numbers, else None."""
    try:
        values = tuple(float(value) for value in texts(dataset, keyword))
    except ValueError:
        return None
    return values if len(values) == count and np.isfinite(values).all() else None


def number(dataset: Dataset, keyword: str) -> float | None:
    """The one finite number that there is."""
    values = numbers(dataset, keyword, 1)
    return None if values is None else values[0]


def integer(dataset: Dataset, keyword: str) -> int | None:
    """The one number that there is, without its fraction."""
    value = number(dataset, keyword)
    return None if value is None else int(value)


def _value(dataset: Dataset, keyword: str) -> Any:
    try:
        return dataset.get(keyword)
    except UNREADABLE_VALUE:
        return None
