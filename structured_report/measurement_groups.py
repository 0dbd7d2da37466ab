"""Measurement groups (TID 1501) of the report: the study as a whole, each finding, the study's quantities.

Every group has an image reference and every number a POINT on it: OHIF 3 fails on a group without one, and
with it opens the slice. The point is an anchor for display; a comment in the group says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from highdicom.sr import (
    CodedConcept,
    ContentItem,
    ContentSequence,
    CoordinatesForMeasurement,
    FindingSite,
    GraphicTypeValues,
    Measurement,
    MeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    RelationshipTypeValues,
    SourceImageForMeasurementGroup,
    SourceImageForRegion,
    TextContentItem,
    TrackingIdentifier,
)
from pydicom.sr.coding import Code

from inference.study_result import Finding, SliceReference, StudyResult
from inference.study_result import Measurement as Quantity
from structured_report.codes import concept, finding_code, laterality_code, private_code
from structured_report.identifiers import tracking_uid
from structured_report.percentage import percentage
from structured_report.provenance import Device
from structured_report.source import SourceStudy

ANCHOR_COMMENT = (
    "The point anchors the display of this slice; it is neither the location nor the outline of a finding."
)


@dataclass(frozen=True)
class Anchor:
    """A slice of the source and a point on it, as a group and its numbers refer to them."""

    reference: SliceReference
    sop_class_uid: str

    @property
    def _frames(self) -> list[int] | None:
        return None if self.reference.frame_number is None else [self.reference.frame_number]

    def source_image(self) -> SourceImageForMeasurementGroup:
        """TID 1501 row 10b: the image behind the group."""
        return SourceImageForMeasurementGroup(
            self.sop_class_uid, self.reference.sop_instance_uid, self._frames
        )

    def point(self) -> CoordinatesForMeasurement:
        """TID 320: POINT on the image; SCOORD counts from the corner of the first pixel (PS3.3 C.18.6)."""
        return CoordinatesForMeasurement(
            graphic_type=GraphicTypeValues.POINT,
            graphic_data=np.array([[self.reference.column + 0.5, self.reference.row + 0.5]]),
            source_image=SourceImageForRegion(
                self.sop_class_uid, self.reference.sop_instance_uid, self._frames
            ),
        )


def anchor(reference: SliceReference, source: SourceStudy) -> Anchor:
    """The anchor on a slice of the source."""
    return Anchor(reference, str(source.header(reference).SOPClassUID))


def study_group(
    result: StudyResult, source: SourceStudy, ensemble: Device
) -> MeasurementsAndQualitativeEvaluations:
    """The study-level answer: probability, verdict, most dangerous pathology.

    An indeterminate study is neither present nor absent, whatever `decision` says: its presence is
    undetermined (PS3.16 CID 240), and the verdict is named besides.
    """
    evaluations = [_presence(bool(result.decision))]
    if result.verdict == "indeterminate":
        evaluations = [
            QualitativeEvaluation(concept("presence"), concept("undetermined")),
            QualitativeEvaluation(concept("verdict"), concept("indeterminate")),
        ]
    if result.most_dangerous is not None:
        most_dangerous = finding_code(result.most_dangerous).code
        evaluations.append(QualitativeEvaluation(concept("most_dangerous"), most_dangerous))
    return _group(
        name="Study",
        tracking=tracking_uid(result.key, ""),  # no finding can be called that
        finding=concept("pathology"),
        at=anchor(result.key_slices[0], source),
        numbers=[
            (concept("probability"), _percent(result.probability, result.operating_point), concept("percent"))
        ],
        evaluations=evaluations,
        algorithm=ensemble,
        parameters=(f"operating_point={result.operating_point:g}", *ensemble.parameters),
        comments=[ANCHOR_COMMENT],
    )


def finding_group(
    finding: Finding, result: StudyResult, source: SourceStudy, ensemble: Device
) -> MeasurementsAndQualitativeEvaluations:
    """One finding: probability, presence at its operating point, site, side, best slice; short if absent."""
    coding = finding_code(finding.name)
    comments = [ANCHOR_COMMENT]
    if finding.present and finding.member_scores:
        scores = ", ".join(f"{member} {score:.3f}" for member, score in finding.member_scores.items())
        comments.append(f"Scores of the members, from 0 to 1: {scores}.")
    laterality = finding.laterality if finding.present and coding.sided else None
    side = laterality_code(laterality) if laterality else None
    return _group(
        name=finding.name,
        tracking=tracking_uid(result.key, finding.name),
        finding=coding.code,
        at=anchor(finding.best_slice or result.key_slices[0], source),
        numbers=[
            (
                concept("probability"),
                _percent(finding.probability, finding.operating_point),
                concept("percent"),
            )
        ],
        evaluations=[_presence(finding.present)],
        algorithm=ensemble,
        parameters=(f"operating_point={finding.operating_point:g}",),
        comments=comments,
        sites=[FindingSite(coding.site, laterality=side)] if coding.site else [],
    )


def quantities_group(
    result: StudyResult, source: SourceStudy, ensemble: Device
) -> MeasurementsAndQualitativeEvaluations:
    """The study's quantities (volumes, densities), each in its UCUM unit and with its method in words."""
    return _group(
        name="Quantities",
        tracking=tracking_uid(result.key, "\x1fquantities"),
        finding=concept("quantities"),
        at=anchor(result.key_slices[0], source),
        numbers=[_quantity(quantity) for quantity in result.measurements],
        evaluations=[],
        algorithm=ensemble,
        parameters=(),
        comments=[
            ANCHOR_COMMENT,
            *(f"{quantity.name}: {quantity.method}" for quantity in result.measurements),
        ],
    )


def in_reading_order(findings: Sequence[Finding]) -> list[Finding]:
    """Present before absent; the present ones by danger, the absent ones by probability."""
    present = [finding for finding in findings if finding.present]
    absent = [finding for finding in findings if not finding.present]
    return [
        *sorted(present, key=lambda finding: finding.danger, reverse=True),
        *sorted(absent, key=lambda finding: finding.probability, reverse=True),
    ]


def comment(text: str) -> TextContentItem:
    """A sentence for the reader (121106, DCM, "Comment")."""
    return TextContentItem(concept("comment"), text, RelationshipTypeValues.CONTAINS)


def _group(
    *,
    name: str,
    tracking: str,
    finding: Code | CodedConcept,
    at: Anchor,
    numbers: Sequence[tuple[CodedConcept, float, CodedConcept]],
    evaluations: Sequence[QualitativeEvaluation],
    algorithm: Device,
    parameters: tuple[str, ...],
    comments: Sequence[str],
    sites: Sequence[FindingSite] = (),
) -> MeasurementsAndQualitativeEvaluations:
    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=tracking, identifier=name),
        finding_type=finding,
        finding_sites=list(sites) or None,
        measurements=[
            Measurement(name, value, unit, referenced_coordinates=[at.point()])
            for name, value, unit in numbers
        ],
        qualitative_evaluations=evaluations,
        source_images=[at.source_image()],
    )
    # TID 1501 row 9b; highdicom 0.28 takes `algorithm_id` here and drops it.
    items: list[ContentItem] = list(group[0].ContentSequence)
    first_number = next(index for index, item in enumerate(items) if item.ValueType == "NUM")
    items[first_number:first_number] = cast(list[ContentItem], algorithm.identification(*parameters))
    group[0].ContentSequence = ContentSequence([*items, *map(comment, comments)])
    return group


def _presence(present: bool) -> QualitativeEvaluation:
    return QualitativeEvaluation(concept("presence"), concept("present" if present else "absent"))


def _percent(probability: float, operating_point: float) -> float:
    return float(percentage(probability, operating_point, decimals=2))


def _quantity(quantity: Quantity) -> tuple[CodedConcept, float, CodedConcept]:
    name = CodedConcept.from_code(private_code(quantity.name))
    return name, quantity.value, CodedConcept(quantity.unit, "UCUM", quantity.unit)
