"""What is said of a study that was refused: a short report and a page, each "not evaluated", why, what to do.

The report follows TID 2000 (PS3.16, Basic Diagnostic Imaging Report) and bears its general title: one titled
as a measurement report would be taken for an answer.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Literal

from highdicom.sr import (
    CodeContentItem,
    CodedConcept,
    ContainerContentItem,
    ContentItem,
    ContentSequence,
    LanguageOfContentItemAndDescendants,
    RelationshipTypeValues,
    TextContentItem,
)
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from structured_report.codes import concept
from structured_report.identifiers import device_uid
from structured_report.language import Words, translate_meanings
from structured_report.object_header import ObjectBasis, ReportContext, ReportObject, content_time
from structured_report.provenance import ENSEMBLE, PRODUCT, Device, observation_context
from structured_report.report_document import report_document
from structured_report.secondary_capture import Capture, secondary_capture
from structured_report.source import SourceStudy, source_study
from structured_report.summary_drawing import SummaryPicture, draw_summary
from structured_report.text_items import worded

RefusalKind = Literal["sr", "sc"]

_LINE_LENGTH = 78  # letters of a line of the page that need not be shrunk


@dataclass(frozen=True)
class RefusedStudy:
    """Why a study was not evaluated; nothing of a patient.

    `key` is its key of work, `code` the stable word, `sentence` and `remedy` are in English, `refused_at` is
    ISO 8601 with offset, `software_version` that of the node.
    """

    key: str
    study_uid: str
    code: str
    sentence: str
    remedy: str
    refused_at: str
    software_version: str


def refusal_objects(
    refused: RefusedStudy,
    headers: Sequence[Dataset],
    context: ReportContext,
    *,
    kinds: Collection[RefusalKind],
) -> list[ReportObject]:
    """The objects about a refused study; the same arguments give the same bytes.

    Parameters
    ----------
    headers
        Of the images that were considered. The first one says whose they are; of the others the UIDs suffice.
    kinds
        Which objects are wanted.

    Raises
    ------
    SourceError
        If there are no headers; SourceEncodingError if the first one holds text that would be lost.
    """
    source = source_study(headers)
    words = Words(context.language)
    device = Device(
        uid=device_uid(context.installation_uid, ENSEMBLE),
        model=PRODUCT,
        version=refused.software_version,
        parameters=(),
        contribution=words.sentence("refusing"),
    )
    basis = ObjectBasis(source, (device,), content_time(refused.refused_at, source, context), context)
    objects = []
    if "sr" in kinds:
        description = _series_description(words)
        objects.append(
            report_document(basis, _content(refused, basis), key=refused.key, description=description)
        )
    if "sc" in kinds:
        objects.append(_page(refused, basis))
    return objects


def _content(refused: RefusedStudy, basis: ObjectBasis) -> ContainerContentItem:
    """TID 2000 with the headings Findings, Conclusions and Recommendations (CID 7001)."""
    words = basis.words
    root = ContainerContentItem(concept("imaging_report"), template_id="2000")
    language = LanguageOfContentItemAndDescendants(concept(words.language))
    procedures = [
        CodeContentItem(concept("procedure_reported"), code, RelationshipTypeValues.HAS_CONCEPT_MOD)
        for code in _procedures(basis.source)
    ]
    sentence = worded("conclusion", refused.sentence, words)
    root.ContentSequence = ContentSequence(
        [
            *procedures,
            *language,
            *observation_context(basis.algorithms[0]),
            _below(
                "findings_heading",
                CodeContentItem(
                    concept("presence"), concept("not_evaluated"), RelationshipTypeValues.CONTAINS
                ),
                CodeContentItem(
                    concept("run_outcome"), concept("no_algorithm_succeeded"), RelationshipTypeValues.CONTAINS
                ),
                TextContentItem(concept("refusal_code"), refused.code, RelationshipTypeValues.CONTAINS),
            ),
            _below(
                "conclusions_heading",
                TextContentItem(
                    concept("conclusion"), words.sentence("not_evaluated"), RelationshipTypeValues.CONTAINS
                ),
                sentence,
            ),
            _below("recommendations_heading", worded("recommendation", refused.remedy, words)),
        ]
    )
    translate_meanings(root, words, {})
    return root


def _procedures(source: SourceStudy) -> Sequence[Code | CodedConcept]:
    """The imaging procedure, as the images name it."""
    return list(source.procedures) or [concept("ct_unspecified_region")]


def _below(heading: str, *items: ContentItem) -> ContainerContentItem:
    container = ContainerContentItem(concept(heading), relationship_type=RelationshipTypeValues.CONTAINS)
    container.ContentSequence = ContentSequence(items)
    return container


def _page(refused: RefusedStudy, basis: ObjectBasis) -> ReportObject:
    first = next(iter(basis.source.instances))
    capture = Capture(
        pixels=draw_summary(refusal_picture(refused, basis.words)),
        key=refused.key,
        study_uid=refused.study_uid,
        number=1,
        series=_series_description(basis.words),
        derivation="Page that says why a study was not evaluated",
        images=((first, None),),
    )
    return secondary_capture(basis, capture)


def refusal_picture(refused: RefusedStudy, words: Words) -> SummaryPicture:
    """What is drawn on the page."""
    said = (words.of_analysis(refused.sentence).text, words.of_analysis(refused.remedy).text)
    return SummaryPicture(
        notice="",
        title=words.sentence("refusal_title"),
        headline=words.sentence("not_evaluated"),
        value="",
        emphasised=True,
        lines=tuple(line for text in said for line in (*wrap(text, _LINE_LENGTH), "")),
        bars=(),
        overview=None,
        sides=("R", "L"),
        facts=(),
        footer=(
            words.sentence("refusal_code", code=refused.code),
            words.sentence("product", product=PRODUCT, version=refused.software_version),
        ),
    )


def _series_description(words: Words) -> str:
    return f"AI {words.sentence('not_evaluated_short')}"
