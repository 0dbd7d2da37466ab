"""A report as a Comprehensive 3D SR document (PS3.3 A.35.13), whatever its content."""

from __future__ import annotations

from highdicom.sr import Comprehensive3DSR
from pydicom.dataset import Dataset
from pydicom.uid import Comprehensive3DSRStorage

from structured_report.codes import private_scheme, private_scheme_designator
from structured_report.identifiers import object_uid, series_uid
from structured_report.object_header import ObjectBasis, PredecessorDocument, ReportObject, complete
from structured_report.source import SourceStudy


def report_document(basis: ObjectBasis, content: Dataset, *, key: str, description: str) -> ReportObject:
    """The document with `content` as its root: UNVERIFIED and COMPLETE, in the study of the images.

    Parameters
    ----------
    key
        Key of work, from which the UIDs follow.
    description
        SeriesDescription.
    """
    source = basis.source
    _stand_alone(content)
    dataset = Comprehensive3DSR(
        evidence=_evidence(source),
        content=content,
        series_instance_uid=series_uid(key, Comprehensive3DSRStorage),
        series_number=basis.context.series_number_base,
        sop_instance_uid=object_uid(key, Comprehensive3DSRStorage, 1),
        instance_number=1,
        is_complete=True,
        series_description=description,
        previous_versions=_predecessors(basis.context.predecessor),
        requested_procedures=source.referenced_requests or None,
        coding_schemes=[private_scheme()],
        specific_character_set="ISO_IR 192",
    )
    complete(dataset, basis)
    dataset.CodingSchemeIdentificationSequence.extend(
        scheme
        for scheme in source.coding_schemes
        if scheme.get("CodingSchemeDesignator") != private_scheme_designator()
    )
    return ReportObject("sr", dataset)


def _stand_alone(item: Dataset) -> None:
    """Let the items of every container stand on their own (PS3.3 C.18.8), in place.

    highdicom calls them parts of one running text, and a renderer that believes it (dcmtk's) leaves out what
    values are called: "94.54 %" in place of "Probability: 94.54 %".
    """
    if item.ValueType == "CONTAINER":
        item.ContinuityOfContent = "SEPARATE"
    for child in item.get("ContentSequence", []):
        _stand_alone(child)


def _predecessors(predecessor: PredecessorDocument | None) -> list[Dataset] | None:
    """For PredecessorDocumentsSequence (PS3.3 C.17.2)."""
    if predecessor is None:
        return None
    reference = Dataset()
    reference.StudyInstanceUID, reference.SeriesInstanceUID = predecessor.study_uid, predecessor.series_uid
    reference.SOPInstanceUID, reference.SOPClassUID = predecessor.sop_instance_uid, predecessor.sop_class_uid
    return [reference]


def _evidence(source: SourceStudy) -> list[Dataset]:
    """References for highdicom: it fails on absent type 2 attributes, and would copy undecoded text."""
    references = []
    for header in source.instances.values():
        reference = Dataset()
        for keyword in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
            setattr(reference, keyword, getattr(header, keyword))
        references.append(reference)
    first = references[0]
    for keyword in (
        "PatientID",
        "PatientName",
        "PatientBirthDate",
        "PatientSex",
        "AccessionNumber",
        "StudyID",
    ):
        setattr(first, keyword, None)
    first.StudyDate = first.StudyTime = None
    return references
