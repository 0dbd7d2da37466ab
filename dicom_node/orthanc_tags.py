"""Orthanc's JSON of an instance's tags as a pydicom Dataset: headers without asking for a file.

Orthanc gives every value as UTF-8 text, sequences as lists, and leaves pixels and long binary values out.
What does not fit its VR (dirty headers exist) is left out too: the choice of a series then sees it as absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydicom import config
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

_NUMBERS: dict[str, type[int] | type[float]] = {
    **dict.fromkeys(("US", "SS", "UL", "SL", "UV", "SV"), int),
    **dict.fromkeys(("FL", "FD"), float),
}
_NO_TEXT = frozenset({"OB", "OW", "OD", "OF", "OL", "OV", "UN", "AT", "SQ"})


def dataset_from_tags(tags: Mapping[str, Any]) -> Dataset:
    """The dataset of one instance from `{"0008,0060": {"Name", "Type", "Value"}, ...}` (`instances-tags`)."""
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    _fill(dataset, tags)
    return dataset


def _fill(dataset: Dataset, tags: Mapping[str, Any]) -> None:
    for name, entry in tags.items():
        tag = Tag(name.replace(",", ""))
        if tag.is_private or name == "0008,0005":
            continue
        try:
            vr = dictionary_VR(tag)
        except KeyError:
            continue
        element = _element(int(tag), vr, entry)
        if element is not None:
            dataset.add(element)


def _element(tag: int, vr: str, entry: Mapping[str, Any]) -> DataElement | None:
    kind, value = entry["Type"], entry["Value"]
    if kind == "Sequence":
        return DataElement(tag, "SQ", [_item(item) for item in value])
    vr = vr.partition(" or ")[0]
    if kind not in {"String", "Null"} or vr in _NO_TEXT:
        return None
    try:
        return _text_element(tag, vr, value or "")
    except (ValueError, TypeError, OverflowError):
        return None


def _item(tags: Mapping[str, Any]) -> Dataset:
    item = Dataset()
    _fill(item, tags)
    return item


def _text_element(tag: int, vr: str, text: str) -> DataElement | None:
    """The element whose value is `text`, values being separated by a backslash."""
    if vr not in _NUMBERS:
        return DataElement(tag, vr, text, validation_mode=config.IGNORE)
    values = [_NUMBERS[vr](part) for part in text.split("\\") if part.strip()]
    return DataElement(tag, vr, values[0] if len(values) == 1 else values) if values else None
