"""Measurement groups of the report: the study as a whole, each finding, the study's quantities.

A finding that the algorithm located is a TID 1410 group with the region as a closed polyline. Every other
group is one of TID 1501 with an image reference, and each of its numbers has a POINT on that image: OHIF 3
fails on a group without coordinates, and with them opens the slice. Such a point is an anchor of the display;
a comment says so, in the group, and for absent findings, whose groups are short, once in the report.

OHIF 3 shows five lines of a TID 1501 group, its comments before its numbers; so there are never more of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from highdicom.sr import (
    CodedConcept,
    ContentItem,
    ContentSequence,
    FindingSite,
    Measurement,
    MeasurementsAndQualitativeEvaluations,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    TextContentItem,
    TrackingIdentifier,
)
from pydicom.sr.coding import Code

from inference.study_result import Finding, SaliencyRegion, SliceReference
from inference.study_result import Measurement as Quantity
from structured_report.anchor import Anchor, anchor
from structured_report.codes import (
    FindingCode,
    concept,
    finding_code,
    laterality_code,
    quantity_code,
    unit_code,
)
from structured_report.identifiers import tracking_uid
from structured_report.object_header import ReportBasis
from structured_report.percentage import percentage
from structured_report.provenance import Device
from structured_report.source_text import taken_over
from structured_report.text_items import comment

NUMBERS_SHOWN = 4
"""Numbers of a group that a viewer shows beside the comment on its anchor."""

MeasurementGroup = MeasurementsAndQualitativeEvaluations | PlanarROIMeasurementsAndQualitativeEvaluations


def study_group(basis: ReportBasis) -> MeasurementGroup:
    """The study-level answer: probability, verdict, most dangerous pathology.

    An indeterminate study is neither present nor absent, whatever `decision` says: its presence is
    undetermined (PS3.16 CID 240), and the verdict is named besides.
    """
    result, ensemble, words = basis.result, basis.algorithms[0], basis.words
    evaluations = [_presence(bool(result.decision))]
    if result.verdict == "indeterminate":
        evaluations = [
            QualitativeEvaluation(concept("presence"), concept("undetermined")),
            QualitativeEvaluation(concept("verdict"), concept("indeterminate")),
        ]
    if result.most_dangerous is not None:
        most_dangerous = finding_code(result.most_dangerous).code
        evaluations.append(QualitativeEvaluation(concept("most_dangerous"), most_dangerous))
    at = anchor(result.key_slices[0], basis.source)
    group = MeasurementsAndQualitativeEvaluations(
        # No finding can be called "".
        tracking_identifier=TrackingIdentifier(tracking_uid(result.key, ""), words.sentence("study")),
        finding_type=concept("pathology"),
        measurements=[_probability(result.probability, result.operating_point, at)],
        qualitative_evaluations=evaluations,
        source_images=[at.source_image()],
    )
    parameters = (f"operating_point={result.operating_point:g}", *ensemble.parameters)
    return _completed(group, ensemble, parameters, [comment(words.sentence("anchor"))])


def finding_group(finding: Finding, basis: ReportBasis) -> MeasurementGroup:
    """One finding: probability, presence at its operating point, and of a present one where it lies."""
    coding = finding_code(finding.name)
    ensemble, parameters = basis.algorithms[0], (f"operating_point={finding.operating_point:g}",)
    if not finding.present:
        return _completed(_unlocated(finding, coding, [], basis), ensemble, parameters, [])
    side = laterality_code(finding.laterality) if finding.laterality and coding.sided else None
    sites = [FindingSite(coding.site, laterality=side)] if coding.site else []
    located = finding.region is not None
    group = _located(finding, coding, sites, basis) if located else _unlocated(finding, coding, sites, basis)
    return _completed(group, ensemble, parameters, list(map(comment, _said_of(finding, basis))))


def quantities_groups(basis: ReportBasis) -> list[MeasurementGroup]:
    """The study's quantities, each in its UCUM unit: those of one kind together, at most `NUMBERS_SHOWN`."""
    kinds: dict[str, list[Quantity]] = {}
    for quantity in basis.result.measurements:
        kinds.setdefault(quantity_code(quantity.name).group, []).append(quantity)
    return [
        _quantities_group(basis, kind, number, quantities[start : start + NUMBERS_SHOWN])
        for kind, quantities in kinds.items()
        for number, start in enumerate(range(0, len(quantities), NUMBERS_SHOWN), start=1)
    ]


def _quantities_group(
    basis: ReportBasis, kind: str, number: int, quantities: Sequence[Quantity]
) -> MeasurementGroup:
    """One group; where a kind has several, the later ones have their number behind the name."""
    result, words = basis.result, basis.words
    at = anchor(result.key_slices[0], basis.source)
    name = words.sentence(kind) if number == 1 else f"{words.sentence(kind)} {number}"
    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(tracking_uid(result.key, f"\x1f{kind} {number}"), name),
        finding_type=concept("quantities"),
        measurements=[_quantity(quantity, at) for quantity in quantities],
        source_images=[at.source_image()],
    )
    device = basis.algorithm("densitometry")
    return _completed(group, device, device.parameters, [comment(words.sentence("anchor"))])


def _located(
    finding: Finding, coding: FindingCode, sites: list[FindingSite], basis: ReportBasis
) -> PlanarROIMeasurementsAndQualitativeEvaluations:
    """TID 1410."""
    region = cast(SaliencyRegion, finding.region)
    return PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracking(finding, basis),
        finding_type=coding.code,
        finding_sites=sites or None,
        geometric_purpose=concept("bounded_by"),
        referenced_region=anchor(region.slice, basis.source).outline(region),
        measurements=[_probability(finding.probability, finding.operating_point)],
        qualitative_evaluations=[_presence(finding.present)],
    )


def _unlocated(
    finding: Finding, coding: FindingCode, sites: list[FindingSite], basis: ReportBasis
) -> MeasurementsAndQualitativeEvaluations:
    """TID 1501."""
    at = anchor(finding.best_slice or basis.result.key_slices[0], basis.source)
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracking(finding, basis),
        finding_type=coding.code,
        finding_sites=sites or None,
        measurements=[_probability(finding.probability, finding.operating_point, at)],
        qualitative_evaluations=[_presence(finding.present)],
        source_images=[at.source_image()],
    )


def _said_of(finding: Finding, basis: ReportBasis) -> list[str]:
    """Sentences of a present finding: what its mark on the image is, where to look, what the members said."""
    words, region = basis.words, finding.region
    if region is not None:
        threshold, peak = f"{region.threshold:.3g}", f"{region.peak:.3g}"
        said = [words.sentence("region", threshold=threshold, peak=peak)]
    else:
        said = [words.sentence("unlocated"), words.sentence("anchor")]
    if finding.best_slice is not None:
        said.append(_best_slice(finding.best_slice, basis))
    if finding.member_scores:
        scores = ", ".join(
            f"{words.member(member)} {score:.3f}" for member, score in finding.member_scores.items()
        )
        said.append(words.sentence("member_scores", scores=scores))
    return said


def _best_slice(reference: SliceReference, basis: ReportBasis) -> str:
    words, number = basis.words, reference.index + 1
    if reference.frame_number is not None:
        return words.sentence("best_frame", number=number, frame=reference.frame_number)
    header = basis.source.header(reference)
    image = next((element.value for element in taken_over(header, ("InstanceNumber",))), None)
    if isinstance(image, int):
        return words.sentence("best_image", number=number, image=int(image))
    return words.sentence("best_slice", number=number)


def _completed(
    group: MeasurementGroup, algorithm: Device, parameters: Sequence[str], comments: Sequence[TextContentItem]
) -> MeasurementGroup:
    """The group with its algorithm (TID 4019) before its numbers, and sentences at its end.

    TID 1501 row 9b has the algorithm, and TID 1419 row 4b for a group of TID 1410; highdicom 0.28 takes
    `algorithm_id` there and drops it.
    """
    items: list[ContentItem] = list(group[0].ContentSequence)
    first_number = next(index for index, item in enumerate(items) if item.ValueType == "NUM")
    items[first_number:first_number] = cast(list[ContentItem], algorithm.identification(*parameters))
    group[0].ContentSequence = ContentSequence([*items, *comments])
    return group


def _tracking(finding: Finding, basis: ReportBasis) -> TrackingIdentifier:
    return TrackingIdentifier(
        uid=tracking_uid(basis.result.key, finding.name), identifier=basis.words.finding(finding.name)
    )


def _presence(present: bool) -> QualitativeEvaluation:
    return QualitativeEvaluation(concept("presence"), concept("present" if present else "absent"))


def _probability(probability: float, operating_point: float, at: Anchor | None = None) -> Measurement:
    """Probability in %, with an anchor where the group itself marks nothing on the image."""
    return Measurement(
        concept("probability"),
        float(percentage(probability, operating_point, decimals=2)),
        concept("percent"),
        referenced_coordinates=None if at is None else [at.point()],
    )


def _quantity(quantity: Quantity, at: Anchor) -> Measurement:
    coding = quantity_code(quantity.name)
    return Measurement(
        _concept(coding.code),
        quantity.value,
        unit_code(quantity.unit),
        method=_concept(coding.method) if coding.method else None,
        derivation=_concept(coding.derivation) if coding.derivation else None,
        referenced_coordinates=[at.point()],
    )


def _concept(code: Code) -> CodedConcept:
    return CodedConcept.from_code(code)
