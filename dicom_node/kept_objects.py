"""Objects as files of the data folder, and what the installation adds to them."""

from __future__ import annotations

from dicom_node.data_folder import DataFolder, write_once
from dicom_node.ledger_records import ObjectRecord
from dicom_node.settings import ReportSettings
from structured_report import PredecessorDocument, ReportContext, ReportObject


def report_context(
    folder: DataFolder, settings: ReportSettings, predecessor: PredecessorDocument | None = None
) -> ReportContext:
    """What this installation adds to its objects."""
    return ReportContext(
        installation_uid=folder.installation_uid(),
        timezone=settings.timezone,
        series_number_base=settings.series_number_base,
        predecessor=predecessor,
        language=settings.language,
    )


def kept_object(folder: DataFolder, key: str, number: int, item: ReportObject) -> ObjectRecord:
    """Write an object, once, and describe it for the ledger; the report is `sr.dcm`."""
    path = folder.results(key) / ("sr.dcm" if item.kind == "sr" else f"{item.kind}-{number}.dcm")
    write_once(path, item.to_bytes())
    return ObjectRecord(
        sop_instance_uid=item.sop_instance_uid,
        sop_class_uid=str(item.dataset.SOPClassUID),
        series_uid=item.series_uid,
        study_uid=str(item.dataset.StudyInstanceUID),
        kind=item.kind,
        number=number,
        path=path,
    )
