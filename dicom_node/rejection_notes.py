"""Rejection notes: key object selections by which a person or a PACS rejects objects (IHE RAD, IOCM profile).

The title says why (PS3.16 CID 7011); what is rejected is listed in Current Requested Procedure Evidence
Sequence (PS3.3 C.17.6.2), all of it, and in the content tree.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.uid import KeyObjectSelectionDocumentStorage

TITLES = {
    "113001": "Rejected for quality reasons",
    "113037": "Rejected for patient safety reasons",
    "113038": "Rejected: wrong entry of the modality worklist",
}
"""Code values of DCM, and our own words for them: those of the note are free text."""

STOPPING = frozenset({"113037", "113038"})
"""Reasons for which images are not to be read at all; images of poor quality are still a study."""


@dataclass(frozen=True)
class RejectionNote:
    """One note: its own UID, the code of its title, SOP Instance UIDs of what it rejects."""

    sop_instance_uid: str
    code: str
    rejected: frozenset[str]


def rejection_notes(datasets: Iterable[Dataset]) -> list[RejectionNote]:
    """The rejection notes among the instances of a study; other key object selections are none."""
    notes = []
    for dataset in datasets:
        if str(dataset.get("SOPClassUID", "")) != KeyObjectSelectionDocumentStorage:
            continue
        title = next(iter(dataset.get("ConceptNameCodeSequence") or []), Dataset())
        code = str(title.get("CodeValue", ""))
        if str(title.get("CodingSchemeDesignator", "")) == "DCM" and code in TITLES:
            note = RejectionNote(
                str(dataset.get("SOPInstanceUID", "")), code, frozenset(_referenced(dataset))
            )
            notes.append(note)
    return notes


def _referenced(dataset: Dataset) -> Iterator[str]:
    for study in dataset.get("CurrentRequestedProcedureEvidenceSequence") or []:
        for series in study.get("ReferencedSeriesSequence") or []:
            yield from _instances(series)
    for item in dataset.get("ContentSequence") or []:
        yield from _instances(item)


def _instances(item: Dataset) -> Iterator[str]:
    for instance in item.get("ReferencedSOPSequence") or []:
        uid = instance.get("ReferencedSOPInstanceUID")
        if uid:
            yield str(uid)
