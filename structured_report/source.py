"""What an object takes over from the images it is about: patient, study, request, equipment, time zone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from inference.study_result import SliceReference, StudyResult
from structured_report.codes import CODE_MEANING_LENGTH, CODING_SCHEME_LENGTH
from structured_report.errors import SourceError
from structured_report.source_text import empty, taken_over

# Written empty where the source lacks them (PS3.3 C.7.1.1 and C.7.2.1).
TYPE_2 = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "StudyID",
    "AccessionNumber",
)

# Patient (C.7.1.1), Clinical Trial Subject (C.7.1.3), General Study (C.7.2.1), Patient Study (C.7.2.2) and
# Clinical Trial Study (C.7.2.3), and the retired OtherPatientIDs by which some archives still match patients.
PATIENT_AND_STUDY = (
    *TYPE_2,
    *("StudyInstanceUID", "IssuerOfPatientID", "IssuerOfPatientIDQualifiersSequence", "TypeOfPatientID"),
    *("OtherPatientIDs", "OtherPatientIDsSequence", "OtherPatientNames", "PatientBirthTime"),
    *("PatientBirthDateInAlternativeCalendar", "PatientAlternativeCalendar", "QualityControlSubject"),
    *("PatientSpeciesDescription", "PatientSpeciesCodeSequence", "PatientBreedDescription"),
    *("ResponsiblePerson", "ResponsiblePersonRole", "ResponsibleOrganization", "PatientComments"),
    *("PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence"),
    *("ClinicalTrialSponsorName", "ClinicalTrialProtocolID", "ClinicalTrialProtocolName"),
    *(
        "ClinicalTrialSiteID",
        "ClinicalTrialSiteName",
        "ClinicalTrialSubjectID",
        "ClinicalTrialSubjectReadingID",
    ),
    *("ClinicalTrialTimePointID", "ClinicalTrialTimePointDescription"),
    *("IssuerOfAccessionNumberSequence", "StudyDescription", "ProcedureCodeSequence"),
    *("ConsultingPhysicianName", "PhysiciansOfRecord", "NameOfPhysiciansReadingStudy", "RequestingService"),
    *("ReasonForPerformedProcedureCodeSequence", "AdmittingDiagnosesDescription"),
    *(
        "PatientAge",
        "PatientSize",
        "PatientWeight",
        "MedicalAlerts",
        "Allergies",
        "Occupation",
        "SmokingStatus",
    ),
    *("AdditionalPatientHistory", "PregnancyStatus", "PatientState", "ReasonForVisit"),
    *("AdmissionID", "IssuerOfAdmissionIDSequence", "ServiceEpisodeID", "ServiceEpisodeDescription"),
)

# Modules that are there whole or not at all: what begins with one word, and of which attributes one each must
# have a value (PS3.3 C.7.1.1 and C.7.1.3).
_WHOLE = {
    "ClinicalTrial": (
        ("ClinicalTrialSponsorName",),
        ("ClinicalTrialProtocolID",),
        ("ClinicalTrialSubjectID", "ClinicalTrialSubjectReadingID"),
    ),
    "PatientIdentityRemoved": (("DeidentificationMethod", "DeidentificationMethodCodeSequence"),),
}

_ACQUISITION_EQUIPMENT = (
    *("Manufacturer", "InstitutionName", "StationName", "InstitutionalDepartmentName"),
    *("ManufacturerModelName", "DeviceSerialNumber", "SoftwareVersions", "DeviceUID"),
)

_UTC_OFFSET = re.compile(r"\+(0\d|1[0-3])[0-5]\d|\+1400|-(0\d|1[01])[0-5]\d|-1200")

_ORDER = ("PlacerOrderNumberImagingServiceRequest", "FillerOrderNumberImagingServiceRequest")
_REQUESTED_PROCEDURE = (
    *("RequestedProcedureID", "RequestedProcedureDescription", "RequestedProcedureCodeSequence"),
    *("ReasonForTheRequestedProcedure", "ReasonForRequestedProcedureCodeSequence"),
)


@dataclass(frozen=True)
class SourceStudy:
    """The analysed images' headers, and what every object about them carries.

    Attributes
    ----------
    instances
        Header (no pixels needed) of each analysed instance by SOP Instance UID, in slice order.
    patient_and_study
        Decoded elements of the patient and study modules; type 2 attributes are always there.
    request_attributes
        RequestAttributesSequence (0040,0275) as the images have it, decoded; [] if none.
    referenced_requests
        The same requests as items of ReferencedRequestSequence (0040,A370), PS3.3 C.17.2.
    procedures
        Codes of the imaging procedure, best source first; () if the source names none.
    coding_schemes
        Items by which the source declares coding schemes.
    acquisition_equipment
        Attributes of the scanner; [] if the source does not name its manufacturer.
    timezone_offset
        TimezoneOffsetFromUTC (0008,0201); None if absent or none (PS3.3 C.12.1: -1200 to +1400).
    """

    instances: Mapping[str, Dataset]
    patient_and_study: Sequence[DataElement]
    request_attributes: Sequence[Dataset]
    referenced_requests: Sequence[Dataset]
    procedures: Sequence[Code]
    coding_schemes: Sequence[Dataset]
    acquisition_equipment: Sequence[DataElement]
    timezone_offset: str | None

    def header(self, reference: SliceReference) -> Dataset:
        """The header of the instance a slice comes from."""
        return self.instances[reference.sop_instance_uid]


def read_source(result: StudyResult, headers: Sequence[Dataset]) -> SourceStudy:
    """What the objects about `result` take over from `headers`, the analysed instances in slice order.

    Raises
    ------
    SourceError
        If there are no headers (a NIfTI volume has none), or they are not the analysed instances.
    SourceEncodingError
        If text of the first header would be lost.
    """
    source = source_study(headers)
    _check_belonging(result, source.instances)
    return source


def source_study(headers: Sequence[Dataset]) -> SourceStudy:
    """What objects about these images of one study take over; the first header says it for all.

    Raises
    ------
    SourceError
        If there are none.
    SourceEncodingError
        If text of the first header would be lost.
    """
    if not headers:
        raise SourceError(
            "no DICOM images stand behind this result: there is nothing a DICOM report could refer to"
        )
    instances = {str(header.SOPInstanceUID): header for header in headers}
    first = headers[0]
    present = _of_whole_modules(
        {element.keyword: element for element in taken_over(first, PATIENT_AND_STUDY)}
    )
    requests = _items(first, "RequestAttributesSequence")
    offset = str(first.get("TimezoneOffsetFromUTC") or "")
    return SourceStudy(
        instances=instances,
        patient_and_study=[
            *present.values(),
            *(empty(keyword) for keyword in TYPE_2 if keyword not in present),
        ],
        request_attributes=requests,
        referenced_requests=list(_referenced_requests(first, requests)),
        procedures=list(dict.fromkeys(_procedures(first, requests))),
        coding_schemes=list(_coding_schemes(first)),
        acquisition_equipment=taken_over(first, _ACQUISITION_EQUIPMENT) if first.get("Manufacturer") else [],
        timezone_offset=offset if _UTC_OFFSET.fullmatch(offset) else None,
    )


def _check_belonging(result: StudyResult, instances: Mapping[str, Dataset]) -> None:
    best = (finding.best_slice for finding in result.findings)
    referenced = {ref.sop_instance_uid for ref in (*result.key_slices, *best) if ref is not None}
    missing = (referenced | set(result.image_sop_instance_uids)) - instances.keys()
    if missing:
        raise SourceError(f"{len(missing)} analysed instances have no header, among them {min(missing)}")
    if any(header.StudyInstanceUID != result.study_uid for header in instances.values()):
        raise SourceError(f"a header does not belong to the analysed study {result.study_uid}")


def _of_whole_modules(present: dict[str, DataElement]) -> dict[str, DataElement]:
    """Without an empty method of de-identification and the attributes of modules that lack others."""
    if "DeidentificationMethod" in present and not present["DeidentificationMethod"].value:
        del present["DeidentificationMethod"]
    broken = [
        name
        for name, needed in _WHOLE.items()
        if not all(any(keyword in present and present[keyword].value for keyword in one) for one in needed)
    ]
    return {
        keyword: element
        for keyword, element in present.items()
        if not any(keyword.startswith(name) for name in broken)
    }


def _items(header: Dataset, keyword: str) -> list[Dataset]:
    return [item for element in taken_over(header, (keyword,)) for item in element.value]


def _referenced_requests(header: Dataset, requests: Sequence[Dataset]) -> Iterator[Dataset]:
    """One item per request; a scanner that wrote no sequence may still have the order at the top level."""
    top = Dataset()
    for element in taken_over(
        header, ("AccessionNumber", "IssuerOfAccessionNumberSequence", *_ORDER, *_REQUESTED_PROCEDURE)
    ):
        top.add(element)
    if not requests and not any(top.get(keyword) for keyword in (*_ORDER, "RequestedProcedureID")):
        return
    for request in requests or [top]:
        item = Dataset()
        item.StudyInstanceUID = request.get("StudyInstanceUID") or header.StudyInstanceUID
        item.ReferencedStudySequence = []
        for keyword in ("AccessionNumber", *_ORDER, *_REQUESTED_PROCEDURE[:3]):  # type 2
            item.add(
                next((holder[keyword] for holder in (request, top) if holder.get(keyword)), empty(keyword))
            )
        for keyword in ("IssuerOfAccessionNumberSequence", *_REQUESTED_PROCEDURE[3:]):  # type 3
            holder = request if request.get(keyword) else top
            if holder.get(keyword):
                item.add(holder[keyword])
        yield item


def _procedures(header: Dataset, requests: Sequence[Dataset]) -> Iterator[Code]:
    for holder, keyword in (
        (header, "ProcedureCodeSequence"),
        *((request, "RequestedProcedureCodeSequence") for request in requests),
        (header, "RequestedProcedureCodeSequence"),
    ):
        for item in _items(holder, keyword):
            values = (_single(item, name) for name in ("CodeValue", "LongCodeValue", "URNCodeValue"))
            value = next(filter(None, values), "")
            scheme, meaning = _single(item, "CodingSchemeDesignator"), _single(item, "CodeMeaning")
            if value and meaning and 0 < len(scheme) <= CODING_SCHEME_LENGTH:
                version = _single(item, "CodingSchemeVersion") or None
                yield Code(value, scheme, meaning[:CODE_MEANING_LENGTH], version)


def _coding_schemes(header: Dataset) -> Iterator[Dataset]:
    return (
        item
        for item in _items(header, "CodingSchemeIdentificationSequence")
        if _single(item, "CodingSchemeDesignator")
    )


def _single(item: Dataset, keyword: str) -> str:
    """The value of a text attribute; "" where it is absent, or a backslash makes several of it."""
    value = item.get(keyword)
    return value if isinstance(value, str) else ""
