"""The plane of one image in patient coordinates (PS3.3 C.7.6.2, Image Plane Module): LPS, mm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SAME_SPACING = 1e-3  # of the pixel spacing
DIRECTION_TOLERANCE = 2e-3  # of a direction cosine


@dataclass(frozen=True)
class ImagePlane:
    """One frame's place in the patient.

    `position_mm` is the centre of the first pixel; `orientation` the direction cosines of a row (towards
    growing column index) and of a column (towards growing row index); `pixel_spacing_mm` the distance of rows
    and of columns, in this order, as in PixelSpacing. `frame_number` counts from 1, None in a single-frame
    instance.
    """

    sop_instance_uid: str
    frame_number: int | None
    position_mm: tuple[float, float, float]
    orientation: tuple[float, float, float, float, float, float]
    pixel_spacing_mm: tuple[float, float]
    rows: int
    columns: int

    @property
    def normal(self) -> NDArray[np.float64]:
        """Unit vector across the plane, pointing towards the head for any plane that is nearer to axial."""
        normal: NDArray[np.float64] = np.cross(self.orientation[:3], self.orientation[3:])
        normal = normal / np.linalg.norm(normal)
        return normal if normal[2] >= 0 else -normal

    def parallel(self, other: ImagePlane) -> bool:
        """Whether both have the same matrix, pixel spacing and orientation, rounding aside."""
        return (
            (self.rows, self.columns) == (other.rows, other.columns)
            and all(
                abs(own - its) <= SAME_SPACING * its
                for own, its in zip(self.pixel_spacing_mm, other.pixel_spacing_mm, strict=True)
            )
            and all(
                abs(own - its) <= DIRECTION_TOLERANCE
                for own, its in zip(self.orientation, other.orientation, strict=True)
            )
        )
