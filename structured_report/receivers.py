"""Objects as one receiver wants them: a report in another SOP class, text in another character set.

A report in another class is an object of its own, with UIDs that follow from the key and the class. Text in
another character set is the same object: PS3.5 6.1 changes its bytes, and none of its values.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy

from pydicom.charset import python_encoding
from pydicom.datadict import keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.uid import UID, Comprehensive3DSRStorage, ComprehensiveSRStorage, EnhancedSRStorage

from structured_report.errors import CharacterSetError
from structured_report.identifiers import object_uid, series_uid
from structured_report.source_text import TEXT_VRS

SR_CLASSES: dict[str, UID] = {
    "comprehensive_3d": Comprehensive3DSRStorage,
    "comprehensive": ComprehensiveSRStorage,
    "enhanced": EnhancedSRStorage,
}
"""SOP classes of structured reports by name; ours has no SCOORD3D, so that each of them can hold it."""


def in_sr_class(report: Dataset, sop_class_uid: str, key: str, predecessor_key: str | None) -> Dataset:
    """A Comprehensive 3D SR of ours as an object of another SOP class.

    Parameters
    ----------
    key
        Key of work that the report was made for.
    predecessor_key
        That of the report it succeeds, which the receiver knows in its class too; None if there is none.
    """
    changed = deepcopy(report)
    changed.SOPClassUID = UID(sop_class_uid)
    changed.SOPInstanceUID = object_uid(key, sop_class_uid, 1)
    changed.SeriesInstanceUID = series_uid(key, sop_class_uid)
    changed.file_meta.MediaStorageSOPClassUID = changed.SOPClassUID
    changed.file_meta.MediaStorageSOPInstanceUID = changed.SOPInstanceUID
    if predecessor_key is not None:
        for study in changed.get("PredecessorDocumentsSequence", []):
            for series in study.ReferencedSeriesSequence:
                series.SeriesInstanceUID = series_uid(predecessor_key, sop_class_uid)
                for reference in series.ReferencedSOPSequence:
                    reference.ReferencedSOPClassUID = changed.SOPClassUID
                    reference.ReferencedSOPInstanceUID = object_uid(predecessor_key, sop_class_uid, 1)
    return changed


def in_character_set(dataset: Dataset, character_set: str) -> Dataset:
    """The object with its text in a character set (a defined term of PS3.3 C.12.1.1.2).

    Raises
    ------
    CharacterSetError
        If a character does not fit; the message names the attribute, never its value.
    """
    changed = deepcopy(dataset)
    changed.decode()
    codec = python_encoding[character_set]
    for element in _texts(changed):
        value = element.value
        for part in value if isinstance(value, MultiValue) else [value]:
            try:
                str(part or "").encode(codec)
            except UnicodeEncodeError as error:
                name = keyword_for_tag(element.tag) or str(element.tag)
                raise CharacterSetError(f"{character_set} lacks a character of {name}") from error
    changed.SpecificCharacterSet = character_set
    return changed


def _texts(dataset: Dataset) -> Iterator[DataElement]:
    """Every element whose text the character set governs."""
    return (element for element in dataset.iterall() if element.VR in TEXT_VRS and element.value)
