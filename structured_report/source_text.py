"""Elements of a source header taken over without loss into an object written in ISO_IR 192.

pydicom decodes what it cannot read with replacement characters and one Python warning, and would write the
result. Warning filters are process-wide and so unsafe in a worker with threads; here the decoded text itself
is examined, and a loss is an error.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable

from pydicom import config
from pydicom.charset import python_encoding
from pydicom.datadict import dictionary_has_tag, dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag, Tag
from pydicom.valuerep import AMBIGUOUS_VR, DSfloat

from structured_report.errors import SourceEncodingError

# Dates and times as they were written before DICOM 3.0 (PS3.5 6.2, notes on DA and TM), and no date at all.
_OLD_DATE = re.compile(r"(\d{4})\.(\d{2})\.(\d{2})")
_OLD_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d(?:\.\d{1,6})?))?")
_ABSENT_OR_FILLED = frozenset({"CodingSchemeVersion"})  # type 1C in a code's item (PS3.3 table 8.8-1)
_NO_DATE = "00000000"

TEXT_VRS = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})  # those that SpecificCharacterSet governs

# What a failed decoding leaves behind: the replacement character, an escape sequence nobody understood, or
# half of a surrogate pair.
_LOSS = re.compile("[\ufffd\x1b\ud800-\udfff]")

_log = logging.getLogger(__name__)


def check_character_set(header: Dataset) -> None:
    """Refuse a SpecificCharacterSet that no decoder knows (pydicom would read it as Latin-1).

    Raises
    ------
    SourceEncodingError
        If one of its defined terms (PS3.3 C.12.1.1.2) is unknown, common misspellings aside.
    """
    terms = header.get("SpecificCharacterSet") or ""
    for term in [terms] if isinstance(terms, str) else terms:
        corrected = re.sub(r"^ISO[ _-]IR[ _-]", "ISO_IR ", term)
        corrected = re.sub(r"^ISO[ _-]2022[ _-]IR[ _-]", "ISO 2022 IR ", corrected)
        if corrected not in python_encoding:
            raise SourceEncodingError("SpecificCharacterSet (0008,0005) of the source is not a known term")


def taken_over(header: Dataset, keywords: Iterable[str]) -> list[DataElement]:
    """The elements of `header` with these keywords, decoded.

    Left out are absent ones, sequences in which nothing stands (an optional one must not be empty), and, with
    a line in the log, values that their value representation cannot hold. The others are taken as they are,
    valid or not: equality with the source matters more than their form.

    Raises
    ------
    SourceEncodingError
        If text would be lost.
    """
    check_character_set(header)
    tags = (Tag(tag) for tag in map(tag_for_keyword, keywords) if tag is not None)
    elements = (_decoded(header, tag) for tag in tags if tag in header)
    return [element for element in elements if element is not None]


def empty(keyword: str) -> DataElement:
    """An element without a value, for a type 2 attribute that the source lacks."""
    return DataElement(keyword, dictionary_VR(keyword), None)


def _decoded(dataset: Dataset, tag: BaseTag) -> DataElement | None:
    try:
        return _copied(dataset[tag])
    except (TypeError, ValueError, OverflowError, NotImplementedError):
        # A number that is none ("60kg" as PatientWeight) must not cost the patient the report.
        _log.warning("source attribute %s is not valid and is left out", tag)
        return None


def _copied(element: DataElement) -> DataElement | None:
    vr, value = _representation(element), element.value
    if vr == "SQ":
        items = [item for item in map(_decoded_item, Sequence(value)) if len(item)]
        return DataElement(element.tag, vr, Sequence(items)) if items else None
    if isinstance(value, bytes) and vr in TEXT_VRS:
        raise TypeError("bytes that no character set governs")
    if vr in TEXT_VRS:
        many = isinstance(value, MultiValue)
        value = [_text(element.tag, part) for part in value] if many else _text(element.tag, value)
    if vr in {"DA", "TM"} and isinstance(value, str):
        value = _date_or_time(value)
    if vr == "DS":
        value = [*map(_number, value)] if isinstance(value, MultiValue) else _number(value)
    return DataElement(element.tag, vr, value, validation_mode=config.IGNORE)


def _date_or_time(value: str) -> str:
    """The same in today's form; anything else as it stands."""
    found = _OLD_DATE.fullmatch(value) or _OLD_TIME.fullmatch(value)
    if found:
        return "".join(part or "" for part in found.groups())
    return "" if value == _NO_DATE else value


def _number(value: object) -> DSfloat | None:
    """A decimal string as it stands, rounded where it has more than the 16 characters of a DS."""
    if value is None or value == "":
        return None
    return DSfloat(value, auto_format=True, validation_mode=config.IGNORE)  # type: ignore[arg-type]


def _representation(element: DataElement) -> str:
    """The data dictionary's value representation, which a stream need not have declared rightly."""
    if not dictionary_has_tag(element.tag):
        return element.VR
    vr = dictionary_VR(element.tag)
    return element.VR if vr in AMBIGUOUS_VR else vr


def _decoded_item(item: Dataset) -> Dataset:
    decoded = Dataset()
    for tag in item:
        # Private elements mean nothing without their creator's dictionary; an item's own character set has
        # been applied by the decoding.
        if tag.tag.is_private or tag.keyword == "SpecificCharacterSet":
            continue
        element = _decoded(item, tag.tag)
        if element is not None and not (element.is_empty and element.keyword in _ABSENT_OR_FILLED):
            decoded.add(element)
    return decoded


def _text(tag: BaseTag, value: object) -> str:
    text = "" if value is None else str(value)
    if _LOSS.search(text):
        raise SourceEncodingError(f"text of {tag} cannot be decoded in the source's character set")
    return text
