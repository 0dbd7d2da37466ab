"""The structured report of one study: Comprehensive 3D SR (PS3.3 A.35.13) with TID 1500 as its root."""

from __future__ import annotations

from highdicom.sr import (
    Comprehensive3DSR,
    ContainerContentItem,
    ContentSequence,
    LanguageOfContentItemAndDescendants,
    MeasurementReport,
    RelationshipTypeValues,
    TextContentItem,
)
from pydicom.dataset import Dataset
from pydicom.uid import Comprehensive3DSRStorage

from structured_report.codes import concept, private_code, private_scheme, private_scheme_designator
from structured_report.conclusion import conclusion, weightiest
from structured_report.identifiers import object_uid, series_uid
from structured_report.image_library import image_library
from structured_report.language import translate_meanings
from structured_report.measurement_groups import (
    finding_group,
    in_reading_order,
    methods,
    quantities_groups,
    study_group,
)
from structured_report.object_header import (
    PredecessorDocument,
    ReportBasis,
    ReportObject,
    complete,
    series_description,
)
from structured_report.provenance import computed_by, observation_context
from structured_report.source import SourceStudy
from structured_report.text_items import comment, comment_of_analysis


def measurement_report(basis: ReportBasis) -> ReportObject:
    """The report: UNVERIFIED and COMPLETE, in the study of the analysed images.

    Groups in order: the study, the present findings (most dangerous first), the absent ones, quantities.
    """
    result, source = basis.result, basis.source
    dataset = Comprehensive3DSR(
        evidence=evidence(source),
        content=_content(basis)[0],
        series_instance_uid=series_uid(result.key, Comprehensive3DSRStorage),
        series_number=basis.context.series_number_base,
        sop_instance_uid=object_uid(result.key, Comprehensive3DSRStorage, 1),
        instance_number=1,
        is_complete=True,
        series_description=series_description(result, basis.words.sentence("report"), basis.words),
        previous_versions=predecessors(basis.context.predecessor),
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


def _content(basis: ReportBasis) -> MeasurementReport:
    """TID 1500; the image library and the evaluations in words are added to what highdicom builds."""
    result, source = basis.result, basis.source
    groups = [
        study_group(basis),
        *(finding_group(item, basis) for item in in_reading_order(result.findings)),
        *quantities_groups(basis),
    ]
    language = concept(basis.words.language)
    report = MeasurementReport(
        observation_context=observation_context(basis.algorithms[0]),
        procedure_reported=list(source.procedures) or concept("ct_unspecified_region"),
        imaging_measurements=groups,
        language_of_content_item_and_descendants=LanguageOfContentItemAndDescendants(language),
    )
    *preamble, measurements = report[0].ContentSequence
    report[0].ContentSequence = ContentSequence(
        [*preamble, image_library(source), measurements, _in_words(basis)]
    )
    names = [finding.name for finding in result.findings] + [item.name for item in result.measurements]
    translated = {private_code(name).value: basis.words.finding(name) for name in names}
    translate_meanings(report[0], basis.words, translated)
    return report


def _in_words(basis: ReportBasis) -> ContainerContentItem:
    """TID 1500 row 12, with sentences: notice, conclusion, what weighed most, warnings, methods, origin."""
    result, words = basis.result, basis.words
    container = ContainerContentItem(
        concept("qualitative_evaluations"), relationship_type=RelationshipTypeValues.CONTAINS
    )
    notice = []
    if result.bundle.demonstration:
        before = f"{words.sentence('demonstration')}. "
        notice.append(comment_of_analysis(result.bundle.intended_use, words, before=before))
    summed_up = TextContentItem(
        concept("conclusion"), conclusion(result, words), RelationshipTypeValues.CONTAINS
    )
    calibration = [result.calibration.sentence] if result.calibration is not None else []
    container.ContentSequence = ContentSequence(
        [
            *notice,
            summed_up,
            *map(comment, weightiest(result, words)),
            *(comment_of_analysis(text, words) for text in (*result.warnings, *calibration)),
            *methods(basis),
            comment(words.sentence("anchors")),
            comment(computed_by(result, words)),
        ]
    )
    return container


def predecessors(predecessor: PredecessorDocument | None) -> list[Dataset] | None:
    """For PredecessorDocumentsSequence (PS3.3 C.17.2)."""
    if predecessor is None:
        return None
    reference = Dataset()
    reference.StudyInstanceUID, reference.SeriesInstanceUID = predecessor.study_uid, predecessor.series_uid
    reference.SOPInstanceUID, reference.SOPClassUID = predecessor.sop_instance_uid, predecessor.sop_class_uid
    return [reference]


def evidence(source: SourceStudy) -> list[Dataset]:
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
