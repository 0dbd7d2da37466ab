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
from structured_report.language import Language, Words
from structured_report.provenance import MANUFACTURER, Device, devices, equipment_sequence
from structured_report.source import SourceStudy

ObjectKind = Literal["sr", "sc", "kos", "seg", "pm", "pdf"]
"""Structured report, secondary captures, key object selection, segmentation, parametric maps, PDF."""


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
    language
        In which the report is written.
    """

    installation_uid: str
    timezone: str = "UTC"
    series_number_base: int = 9000
    predecessor: PredecessorDocument | None = None
    language: Language = "en"


@dataclass(frozen=True)
class ReportObject:
    """One DICOM object, ready to be stored: Explicit VR Little Endian, with file meta information."""

    kind: ObjectKind
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
class ObjectBasis:
    """What every object is made from, whether its study was evaluated or refused.

    `algorithms` are those that took part, the ensemble first; `when` is the time of the analysis or of the
    refusal, in the zone of the objects' times.
    """

    source: SourceStudy
    algorithms: tuple[Device, ...]
    when: datetime
    context: ReportContext

    @property
    def words(self) -> Words:
        """The words of the objects' language."""
        return Words(self.context.language)

    @property
    def date(self) -> str:
        """`when` as DA."""
        return self.when.strftime("%Y%m%d")

    @property
    def time(self) -> str:
        """`when` as TM."""
        return self.when.strftime("%H%M%S.%f")


@dataclass(frozen=True)
class ReportBasis(ObjectBasis):
    """All that the objects of one result are made from."""

    result: StudyResult

    @property
    def slices(self) -> int:
        """How many slices were analysed: images, or frames of multi-frame ones."""
        return sum(int(header.get("NumberOfFrames") or 1) for header in self.source.instances.values())

    def algorithm(self, name: str) -> Device:
        """The algorithm of that name; the ensemble where the result does not name it."""
        return next((device for device in self.algorithms if device.model == name), self.algorithms[0])


def report_basis(result: StudyResult, source: SourceStudy, context: ReportContext) -> ReportBasis:
    """The basis of the objects about `result`."""
    algorithms = devices(result, context.installation_uid, Words(context.language))
    when = content_time(result.analysed_at, source, context)
    return ReportBasis(source, algorithms, when, context, result)


def content_time(moment: str, source: SourceStudy, context: ReportContext) -> datetime:
    """`moment` (ISO 8601 with offset) in the zone in which the object's dates and times are written.

    TimezoneOffsetFromUTC governs every DA and TM of an object (PS3.3 C.12.1.1.8), the study's taken-over date
    and time too: where the source states it, ours follow it; where it does not, they are local and none is
    stated, for nobody knows in which zone the study's own time was written.
    """
    analysed = datetime.fromisoformat(moment)
    offset = source.timezone_offset
    if offset is None:
        return analysed.astimezone(ZoneInfo(context.timezone))
    minutes = int(offset[-4:-2]) * 60 + int(offset[-2:])
    return analysed.astimezone(timezone(timedelta(minutes=-minutes if offset.startswith("-") else minutes)))


def name_dimensions(dataset: Dataset, uid: str) -> None:
    """Give the frames' dimensions (PS3.3 C.7.6.17) a UID that follows from the key: highdicom draws one."""
    for item in (*dataset.DimensionOrganizationSequence, *dataset.DimensionIndexSequence):
        item.DimensionOrganizationUID = uid


def complete(dataset: Dataset, basis: ObjectBasis) -> None:
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


def series_description(result: StudyResult, what: str, words: Words = Words()) -> str:  # noqa: B008 - frozen
    """SeriesDescription (LO): begins with "AI" and says so where the bundle is a demonstration."""
    return f"AI {what} - {words.sentence('demonstration')}" if result.bundle.demonstration else f"AI {what}"
