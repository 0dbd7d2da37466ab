"""What every object of ours has in common: whose it is, what made it, when, and in which character set."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from io import BytesIO
from typing import Literal
from zoneinfo import ZoneInfo

from pydicom import dcmwrite
from pydicom.dataset import Dataset
from pydicom.uid import UID

from inference.study_result import StudyResult
from structured_report.identifiers import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from structured_report.provenance import MANUFACTURER, Device, devices, equipment_sequence
from structured_report.source import SourceStudy

DEMONSTRATION_NOTICE = "DEMONSTRATION - NOT FOR DIAGNOSIS"


@dataclass(frozen=True)
class PredecessorDocument:
    """An earlier report that a new one replaces."""

    study_uid: str
    series_uid: str
    sop_instance_uid: str
    sop_class_uid: str


@dataclass(frozen=True)
class ReportContext:
    """What an installation adds to its reports.

    Attributes
    ----------
    installation_uid
        UID made once per installation and kept; the DeviceUID of every algorithm derives from it.
    timezone
        IANA name of the zone in which dates and times are written, unless the source states its own offset.
    series_number_base
        Number of the first series of ours; the others follow.
    predecessor
        The report that this one replaces, None for the first about a study.
    """

    installation_uid: str
    timezone: str = "UTC"
    series_number_base: int = 9000
    predecessor: PredecessorDocument | None = None


@dataclass(frozen=True)
class ReportObject:
    """One DICOM object, ready to be stored: Explicit VR Little Endian, with file meta information."""

    kind: Literal["sr", "sc"]
    dataset: Dataset

    @property
    def sop_instance_uid(self) -> str:
        """SOP Instance UID, derived from the key of work."""
        return str(self.dataset.SOPInstanceUID)

    @property
    def series_uid(self) -> str:
        """Series Instance UID, derived from the key of work."""
        return str(self.dataset.SeriesInstanceUID)

    def to_bytes(self) -> bytes:
        """The object as a DICOM file (PS3.10); the same bytes on every call."""
        with BytesIO() as buffer:
            dcmwrite(buffer, self.dataset, enforce_file_format=True)
            return buffer.getvalue()


@dataclass(frozen=True)
class ReportBasis:
    """All that the objects of one result are made from.

    `algorithms` are the result's, the ensemble first; `when` is the time of the analysis, in the zone of the
    objects' times.
    """

    result: StudyResult
    source: SourceStudy
    algorithms: tuple[Device, ...]
    when: datetime
    context: ReportContext

    @property
    def date(self) -> str:
        """`when` as DA."""
        return self.when.strftime("%Y%m%d")

    @property
    def time(self) -> str:
        """`when` as TM."""
        return self.when.strftime("%H%M%S.%f")


def report_basis(result: StudyResult, source: SourceStudy, context: ReportContext) -> ReportBasis:
    """The basis of the objects about `result`."""
    algorithms = devices(result, context.installation_uid)
    return ReportBasis(result, source, algorithms, content_time(result, source, context), context)


def content_time(result: StudyResult, source: SourceStudy, context: ReportContext) -> datetime:
    """When the study was analysed, in the zone in which the object's dates and times are written.

    TimezoneOffsetFromUTC governs every DA and TM of an object (PS3.3 C.12.1.1.8), the study's taken-over date
    and time too: where the source states it, ours follow it; where it does not, they are local and none is
    stated, for nobody knows in which zone the study's own time was written.
    """
    analysed = datetime.fromisoformat(result.analysed_at)
    offset = source.timezone_offset
    if offset is None:
        return analysed.astimezone(ZoneInfo(context.timezone))
    minutes = int(offset[-4:-2]) * 60 + int(offset[-2:])
    return analysed.astimezone(timezone(timedelta(minutes=-minutes if offset.startswith("-") else minutes)))


def complete(dataset: Dataset, basis: ReportBasis) -> None:
    """Add what all objects have in common; what a library took from the clock is replaced."""
    source, ensemble = basis.source, basis.algorithms[0]
    dataset.SpecificCharacterSet = "ISO_IR 192"
    for element in source.patient_and_study:
        dataset.add(element)
    if source.timezone_offset is not None:
        dataset.TimezoneOffsetFromUTC = source.timezone_offset
    dataset.InstanceCreationDate, dataset.InstanceCreationTime = basis.date, basis.time
    dataset.SeriesDate, dataset.SeriesTime = basis.date, basis.time
    dataset.ContentDate, dataset.ContentTime = basis.date, basis.time
    dataset.Manufacturer = MANUFACTURER
    dataset.ManufacturerModelName = ensemble.model
    dataset.SoftwareVersions = ensemble.version
    dataset.DeviceUID = ensemble.uid
    dataset.ContributingEquipmentSequence = equipment_sequence(
        source.acquisition_equipment, basis.algorithms, basis.when
    )
    dataset.file_meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    dataset.file_meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME


def series_description(result: StudyResult, what: str) -> str:
    """SeriesDescription (LO): begins with "AI" and says so where the bundle is a demonstration."""
    return f"AI {what} - {DEMONSTRATION_NOTICE}" if result.bundle.demonstration else f"AI {what}"
