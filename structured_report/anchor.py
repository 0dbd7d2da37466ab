"""A slice of the source and a point on it, as content items of a report refer to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from highdicom.sr import (
    CoordinatesForMeasurement,
    GraphicTypeValues,
    ImageRegion,
    SourceImageForMeasurementGroup,
    SourceImageForRegion,
)

from inference.study_result import SaliencyRegion, SliceReference
from structured_report.codes import concept
from structured_report.source import SourceStudy


@dataclass(frozen=True)
class Anchor:
    """A slice of the source and a point on it, as a group and its numbers refer to them."""

    reference: SliceReference
    sop_class_uid: str

    @property
    def image(self) -> SourceImageForRegion:
        """The slice that coordinates lie on."""
        return SourceImageForRegion(self.sop_class_uid, self.reference.sop_instance_uid, self._frames)

    @property
    def _frames(self) -> list[int] | None:
        return None if self.reference.frame_number is None else [self.reference.frame_number]

    def source_image(self) -> SourceImageForMeasurementGroup:
        """TID 1501 row 10b: the image behind the group."""
        return SourceImageForMeasurementGroup(
            self.sop_class_uid, self.reference.sop_instance_uid, self._frames
        )

    def point(self) -> CoordinatesForMeasurement:
        """TID 320: POINT on the image; SCOORD counts from the corner of the first pixel (PS3.3 C.18.6).

        TID 1500 row 9 takes the name of what a number was inferred from out of CID 7551.
        """
        return CoordinatesForMeasurement(
            graphic_type=GraphicTypeValues.POINT,
            graphic_data=np.array([[self.reference.column + 0.5, self.reference.row + 0.5]]),
            source_image=self.image,
            purpose=concept("source_of_measurement"),
        )

    def outline(self, region: SaliencyRegion) -> ImageRegion:
        """TID 1410 row 5: the region's closed polyline on the image."""
        return ImageRegion(
            graphic_type=GraphicTypeValues.POLYLINE,
            graphic_data=np.array(region.polygon),
            source_image=self.image,
        )


def anchor(reference: SliceReference, source: SourceStudy) -> Anchor:
    """The anchor on a slice of the source."""
    return Anchor(reference, str(source.header(reference).SOPClassUID))
