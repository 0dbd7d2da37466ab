"""The structured report of one study: Comprehensive 3D SR (PS3.3 A.35.13) with TID 1500 as its root."""

from __future__ import annotations

from highdicom.sr import (
    ContainerContentItem,
    ContentSequence,
    LanguageOfContentItemAndDescendants,
    MeasurementReport,
    RelationshipTypeValues,
    TextContentItem,
)

from structured_report.codes import code_meaning, concept, private_code
from structured_report.conclusion import conclusion, weightiest
from structured_report.image_library import image_library
from structured_report.language import translate_meanings
from structured_report.measurement_groups import finding_group, quantities_groups, study_group
from structured_report.object_header import (
    ReportBasis,
    ReportObject,
    series_description,
)
from structured_report.provenance import computed_by, observation_context
from structured_report.reading_order import in_reading_order
from structured_report.report_document import report_document
from structured_report.text_items import comment, comment_of_analysis


def measurement_report(basis: ReportBasis) -> ReportObject:
    """The report: UNVERIFIED and COMPLETE, in the study of the analysed images.

    What it says in words comes first, then the images, then the groups: the study, the present findings (most
    dangerous first), the absent ones, quantities. The order of TID 1500 is not significant.
    """
    result, words = basis.result, basis.words
    description = series_description(result, words.sentence("report"), words)
    return report_document(basis, _content(basis)[0], key=result.key, description=description)


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
        [*preamble, _in_words(basis), image_library(source), measurements]
    )
    names = [finding.name for finding in result.findings] + [item.name for item in result.measurements]
    translated = {private_code(name).value: code_meaning(basis.words.finding(name)) for name in names}
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
            *_methods(basis),
            comment(words.sentence("anchors")),
            comment(computed_by(result, words)),
        ]
    )
    return container


def _methods(basis: ReportBasis) -> list[TextContentItem]:
    """How the quantities are measured: a sentence for each method, after the names of those that share it."""
    words = basis.words
    names: dict[str, list[str]] = {}
    for quantity in basis.result.measurements:
        names.setdefault(quantity.method, []).append(words.finding(quantity.name))
    return [
        comment_of_analysis(method, words, before=f"{'; '.join(measured)}: ")
        for method, measured in names.items()
    ]
