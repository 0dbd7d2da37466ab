"""The objects of a key as one destination wants them: kinds, SOP class of reports, character set."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset

from dicom_node.data_folder import DataFolder, write_once
from dicom_node.destination_settings import DestinationSettings
from dicom_node.errors import TextNotFitting
from dicom_node.ledger import Ledger
from dicom_node.ledger_records import ObjectRecord
from structured_report import SR_CLASSES, CharacterSetError, in_character_set, in_sr_class

_OF_THE_ARCHIVE = "comprehensive_3d", "ISO_IR 192"
_KINDS = {"comprehensive": "sr-comp", "enhanced": "sr-enh"}


def files_for(key: str, destination: DestinationSettings, ledger: Ledger, folder: DataFolder) -> list[Path]:
    """Files to send, the report first; what differs from the archive's objects is made here, and once.

    Raises
    ------
    TextNotFitting
        If a character of an object does not exist in the destination's character set.
    """
    records = [
        item
        for item in ledger.objects.of(key)
        if not item.for_destination and item.kind in destination.objects
    ]
    return [_file(key, item, destination, ledger, folder) for item in records]


def _file(
    key: str, record: ObjectRecord, destination: DestinationSettings, ledger: Ledger, folder: DataFolder
) -> Path:
    sr_class, character_set = destination.sr_class, destination.character_set
    if record.kind == "sr" and sr_class != _OF_THE_ARCHIVE[0]:
        record = _in_class(key, record, sr_class, ledger, folder)
    if character_set == _OF_THE_ARCHIVE[1]:
        return record.path
    path = record.path.with_name(f"{record.path.stem}.{character_set.replace(' ', '_')}.dcm")
    if not path.exists():
        try:
            recoded = in_character_set(dcmread(record.path), character_set)
        except CharacterSetError as error:
            raise TextNotFitting(f"{error}: set destinations.character_set of {destination.name}") from error
        write_once(path, _written(recoded))
    return path


def _in_class(
    key: str, record: ObjectRecord, sr_class: str, ledger: Ledger, folder: DataFolder
) -> ObjectRecord:
    """The report in another SOP class; entered in the ledger before it leaves, as every object is."""
    kind = _KINDS[sr_class]
    known = next((item for item in ledger.objects.of(key) if item.kind == kind), None)
    if known is not None:
        return known
    report = dcmread(record.path)
    predecessor = _predecessor_key(report, ledger)
    changed = in_sr_class(report, SR_CLASSES[sr_class], key, predecessor)
    path = folder.results(key) / f"{kind}.dcm"
    write_once(path, _written(changed))
    made = ObjectRecord(
        sop_instance_uid=str(changed.SOPInstanceUID),
        sop_class_uid=str(changed.SOPClassUID),
        series_uid=str(changed.SeriesInstanceUID),
        study_uid=record.study_uid,
        kind=kind,
        number=max(item.number for item in ledger.objects.of(key)) + 1,
        path=path,
    )
    ledger.objects.add(key, [made])
    return made


def _predecessor_key(report: Dataset, ledger: Ledger) -> str | None:
    for study in report.get("PredecessorDocumentsSequence", []):
        for series in study.ReferencedSeriesSequence:
            for reference in series.ReferencedSOPSequence:
                return ledger.objects.key_of(str(reference.ReferencedSOPInstanceUID))
    return None


def _written(dataset: Dataset) -> bytes:
    with BytesIO() as buffer:
        dcmwrite(buffer, dataset, enforce_file_format=True)
        return buffer.getvalue()
