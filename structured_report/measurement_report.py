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

from inference.study_result import StudyResult
from structured_report.codes import concept, private_scheme, private_scheme_designator
from structured_report.identifiers import object_uid, series_uid
from structured_report.image_library import image_library
from structured_report.measurement_groups import (
    comment,
    finding_group,
    in_reading_order,
    quantities_group,
    study_group,
)
from structured_report.object_header import (
    DEMONSTRATION_NOTICE,
    PredecessorDocument,
    ReportBasis,
    ReportObject,
    complete,
    series_description,
)
from structured_report.percentage import percentage
from structured_report.provenance import Device, computed_by, observation_context
from structured_report.source import SourceStudy

_WEIGHTIEST_COLUMNS = 3


def measurement_report(basis: ReportBasis) -> ReportObject:
    """The report: UNVERIFIED and COMPLETE, in the study of the analysed images.

    Groups in order: the study, the present findings (most dangerous first), the absent ones, quantities.
    """
    result, source = basis.result, basis.source
    dataset = Comprehensive3DSR(
        evidence=_evidence(source),
        content=_content(result, source, basis.algorithms[0])[0],
        series_instance_uid=series_uid(result.key, Comprehensive3DSRStorage),
        series_number=basis.context.series_number_base,
        sop_instance_uid=object_uid(result.key, Comprehensive3DSRStorage, 1),
        instance_number=1,
        is_complete=True,
        series_description=series_description(result, "report"),
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


def _content(result: StudyResult, source: SourceStudy, ensemble: Device) -> MeasurementReport:
    """TID 1500; the image library and the evaluations in words are added to what highdicom builds."""
    groups = [
        study_group(result, source, ensemble),
        *(finding_group(item, result, source, ensemble) for item in in_reading_order(result.findings)),
    ]
    if result.measurements:
        groups.append(quantities_group(result, source, ensemble))
    report = MeasurementReport(
        observation_context=observation_context(ensemble),
        procedure_reported=list(source.procedures) or concept("ct_unspecified_region"),
        imaging_measurements=groups,
        language_of_content_item_and_descendants=LanguageOfContentItemAndDescendants(concept("english")),
    )
    *preamble, measurements = report[0].ContentSequence
    report[0].ContentSequence = ContentSequence(
        [*preamble, image_library(source), measurements, _in_words(result)]
    )
    return report


def _in_words(result: StudyResult) -> ContainerContentItem:
    """TID 1500 row 12, with sentences: notice, conclusion, what weighed most, warnings, what computed it."""
    container = ContainerContentItem(
        concept("qualitative_evaluations"), relationship_type=RelationshipTypeValues.CONTAINS
    )
    notice = (
        [f"{DEMONSTRATION_NOTICE}. {result.bundle.intended_use}".strip()]
        if result.bundle.demonstration
        else []
    )
    origin = [computed_by(result)]
    if result.calibration is not None:
        origin.insert(0, result.calibration.sentence)
    conclusion = TextContentItem(concept("conclusion"), _conclusion(result), RelationshipTypeValues.CONTAINS)
    container.ContentSequence = ContentSequence(
        [*map(comment, notice), conclusion, *map(comment, [*_weightiest(result), *result.warnings, *origin])]
    )
    return container


def _conclusion(result: StudyResult) -> str:
    present = [finding for finding in in_reading_order(result.findings) if finding.present]
    named = ", ".join(
        f"{finding.name} ({percentage(finding.probability, finding.operating_point)} %)"
        for finding in present
    )
    sentences = [
        f"Probability of pathology {percentage(result.probability, result.operating_point)} %,"
        f" operating point {100 * result.operating_point:.1f} %: {_verdict(result)}",
        f"Findings at or above their operating points: {named or 'none'}.",
        f"Findings below theirs: {len(result.findings) - len(present)}.",
    ]
    if result.most_dangerous is not None:
        sentences.append(f"Most dangerous pathology: {result.most_dangerous}.")
    return " ".join(sentences)


def _verdict(result: StudyResult) -> str:
    state = f"pathology {'present' if result.decision else 'absent'}"
    if result.verdict != "indeterminate":
        return f"{state}."
    band = result.indeterminate
    limits = f" (from {100 * band.low:.1f} % to {100 * band.high:.1f} %)" if band is not None else ""
    return (
        f"indeterminate{limits}, called neither normal nor pathological."
        f" By the operating point alone: {state}."
    )


def _weightiest(result: StudyResult) -> list[str]:
    ranked = sorted(result.contributions, key=lambda item: -abs(item.contribution))[:_WEIGHTIEST_COLUMNS]
    if not ranked:
        return []
    named = "; ".join(f"{item.column} = {item.value:.3f} ({item.contribution:+.2f})" for item in ranked)
    return [f"Scores that moved the study's log-odds most: {named}."]


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
