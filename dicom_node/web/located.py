"""Which findings are located on which image of the analysed series."""

from __future__ import annotations

from inference.study_result import Finding, SaliencyRegion, SliceReference, StudyResult
from inference.volume import Frame
from structured_report.reading_order import in_reading_order


def image_of(reference: SliceReference) -> Frame:
    """The image that a slice of the volume is, or is nearest to."""
    return reference.sop_instance_uid, reference.frame_number


def located_on(result: StudyResult, image: Frame) -> list[tuple[Finding, SaliencyRegion]]:
    """The present findings with a region on an image, in the order in which its outlines are numbered."""
    return [
        (finding, finding.region)
        for finding in in_reading_order(result.findings)
        if finding.present and finding.region is not None and image_of(finding.region.slice) == image
    ]
