"""The stack that image planes make: order, spacing, affine, gaps.

Everything here is PS3.3 C.7.6.2 (Image Plane Module) and needs no pixels, so that the choice of a series and
the reading of its pixels judge geometry by the same rules. Coordinates are DICOM's: LPS, mm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.errors import RefusalCode, VolumeRefusal
from inference.image_plane import SAME_SPACING, ImagePlane

MAX_TILT_DEGREES = 30.0
"""Beyond this angle between planes and patient axis a stack is not axial, or its tilt is not straightened."""

UPRIGHT_DEGREES = 0.5
"""Below this angle planes count as orthogonal to their stacking: rounding in the headers, not a tilt."""

MAX_MISSING_SLICES = 2
LONGEST_MM = 3000.0
SAME_POSITION_MM = 0.01
ROUNDING_MM = 0.1
"""Slices this near to their places in an even stack lie there: headers round positions, some to 0.1 mm."""

SPACING_TOLERANCE = 0.02  # of the median distance: a slice taken as it is where others are resampled
GAP_TOLERANCE = 0.15  # of the median distance: a gap of a whole number of slices
VARIABLE_SPACING = 0.25  # of the median distance: spacing that is resampled by position
LATERAL_TOLERANCE_MM = 1.0


@dataclass(frozen=True)
class StackedSlice:
    """One slice of the volume out of two planes of the stack: (1 - weight) * lower + weight * upper."""

    lower: int
    upper: int
    weight: float

    @property
    def nearest(self) -> int:
        """The plane that weighs more."""
        return self.lower if self.weight < 0.5 else self.upper


@dataclass(frozen=True)
class SliceStack:
    """Planes in ascending order (towards the head) and the evenly spaced slices that they make.

    `affine` maps (column, row, slice) indices to LPS mm; its third column is the step from slice to slice,
    which is not orthogonal to the planes where the gantry was tilted (`tilt_degrees`, else 0).
    `oblique_degrees` is the angle between the planes' normal and the patient's long axis.
    """

    planes: tuple[ImagePlane, ...]
    slices: tuple[StackedSlice, ...]
    affine: NDArray[np.float64]
    tilt_degrees: float
    oblique_degrees: float
    warnings: tuple[str, ...]

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance of slices, rows and columns."""
        column, row, step = (float(length) for length in np.linalg.norm(self.affine[:3, :3], axis=0))
        return step, row, column

    @property
    def extent_mm(self) -> float:
        """Distance from the first slice to the last, one slice more: what the stack covers."""
        return self.spacing_mm[0] * len(self.slices)

    @property
    def field_mm(self) -> float:
        """The longer side of the images."""
        _, row, column = self.spacing_mm
        return max(row * self.planes[0].rows, column * self.planes[0].columns)

    @property
    def complete(self) -> bool:
        """No slice is interpolated."""
        return all(item.weight == 0 for item in self.slices)


def stack_planes(planes: Sequence[ImagePlane]) -> SliceStack:
    """The stack that planes make, whatever order they come in.

    Raises
    ------
    VolumeRefusal
        `not_axial`, `mixed_geometry`, `gantry_tilt`, `missing_slices`, or `too_few_slices` below two planes.
    """
    if len(planes) < 2:
        raise VolumeRefusal(
            RefusalCode.TOO_FEW_SLICES, f"The series has {len(planes)} image(s) with a position."
        )
    _one_geometry(planes)
    normal = np.mean([plane.normal for plane in planes], axis=0)
    normal /= np.linalg.norm(normal)
    oblique = _degrees(normal[2])
    if oblique > 45:
        raise VolumeRefusal(
            RefusalCode.NOT_AXIAL,
            f"The images lie {oblique:.0f} degrees from the axial plane: a reformat or a scout.",
        )
    planes = sorted(
        planes, key=lambda plane: (float(normal @ np.array(plane.position_mm)), plane.sop_instance_uid)
    )
    positions = np.array([plane.position_mm for plane in planes])
    heights = positions @ normal
    if heights[-1] - heights[0] > LONGEST_MM:
        raise VolumeRefusal(
            RefusalCode.MIXED_GEOMETRY,
            f"The images are spread over {(heights[-1] - heights[0]) / 1000:.1f} m: no patient is so long.",
        )
    tilt = _tilt(positions, normal)
    # To a tenth of a degree: positions and directions are rounded, and a gantry stops at 30 degrees.
    if round(tilt, 1) > MAX_TILT_DEGREES:
        raise VolumeRefusal(
            RefusalCode.GANTRY_TILT,
            f"The gantry was tilted by {tilt:.1f} degrees; up to 30 can be straightened.",
        )
    if round(oblique, 1) > MAX_TILT_DEGREES:
        raise VolumeRefusal(
            RefusalCode.NOT_AXIAL,
            f"The images lie {oblique:.1f} degrees from the axial plane; up to 30 can be read.",
        )
    slices, warnings = _even_slices(heights, positions)
    _in_line(positions, heights)
    if tilt:
        warnings.append(f"The gantry was tilted by {tilt:.1f} degrees: the volume was straightened.")
    elif oblique > UPRIGHT_DEGREES:
        warnings.append(
            f"The images lie {oblique:.1f} degrees from the axial plane: the volume was resampled."
        )
    return SliceStack(
        planes=tuple(planes),
        slices=tuple(slices),
        affine=_affine(planes, len(slices)),
        tilt_degrees=tilt,
        oblique_degrees=oblique,
        warnings=tuple(warnings),
    )


def _degrees(cosine: float) -> float:
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def _one_geometry(planes: Sequence[ImagePlane]) -> None:
    """Refuse planes that differ in matrix, pixel spacing or orientation."""
    first = planes[0]
    for plane in planes[1:]:
        if plane.parallel(first):
            continue
        if (plane.rows, plane.columns) != (first.rows, first.columns):
            raise VolumeRefusal(
                RefusalCode.MIXED_GEOMETRY,
                f"The series mixes images of {first.rows} x {first.columns} and of {plane.rows} x"
                f" {plane.columns} pixels.",
            )
        if not np.allclose(plane.pixel_spacing_mm, first.pixel_spacing_mm, rtol=SAME_SPACING, atol=0):
            raise VolumeRefusal(
                RefusalCode.MIXED_GEOMETRY, "The series mixes images of different pixel spacing."
            )
        raise VolumeRefusal(RefusalCode.MIXED_GEOMETRY, "The series mixes images of different orientation.")


def _tilt(positions: NDArray[np.float64], normal: NDArray[np.float64]) -> float:
    """Angle between the planes' normal and the way from the first position to the last; 0 if they agree."""
    way = positions[-1] - positions[0]
    along = float(way @ normal)
    if along <= SAME_POSITION_MM:
        return 0.0
    across = float(np.linalg.norm(way - along * normal))
    angle = float(np.degrees(np.arctan2(across, along)))
    return angle if angle > UPRIGHT_DEGREES else 0.0


def _in_line(positions: NDArray[np.float64], heights: NDArray[np.float64]) -> None:
    """Refuse planes that are shifted against each other within the plane."""
    share = (heights - heights[0]) / (heights[-1] - heights[0])
    expected = positions[0] + share[:, None] * (positions[-1] - positions[0])
    worst = float(np.linalg.norm(positions - expected, axis=1).max())
    if worst > LATERAL_TOLERANCE_MM:
        raise VolumeRefusal(
            RefusalCode.MIXED_GEOMETRY, f"The images are shifted against each other by up to {worst:.1f} mm."
        )


def _even_slices(
    heights: NDArray[np.float64], positions: NDArray[np.float64]
) -> tuple[list[StackedSlice], list[str]]:
    """Evenly spaced slices through planes at `heights` (mm, ascending), and what had to be made up."""
    gaps = np.diff(heights)
    if gaps.min() <= SAME_POSITION_MM:
        raise VolumeRefusal(RefusalCode.MIXED_GEOMETRY, "The series holds several images at one position.")
    if _even(heights, np.arange(len(heights))):
        return [StackedSlice(index, index, 0.0) for index in range(len(heights))], []
    median = float(np.median(gaps))
    counts = np.maximum(np.rint(gaps / median), 1).astype(int)
    missing = int((counts - 1).sum())
    if missing > MAX_MISSING_SLICES or counts.max() > 2:
        raise VolumeRefusal(
            RefusalCode.MISSING_SLICES,
            f"About {missing} slice(s) are missing: distances between neighbours range from"
            f" {gaps.min():.2f} to {gaps.max():.2f} mm.",
        )
    even = _even(heights, np.concatenate([[0], np.cumsum(counts)]))
    limit = GAP_TOLERANCE if missing else VARIABLE_SPACING
    if not even and (np.abs(gaps / counts - median) > limit * median).any():
        raise VolumeRefusal(
            RefusalCode.MIXED_GEOMETRY,
            f"The distance between neighbouring slices varies from {gaps.min():.2f} to {gaps.max():.2f} mm.",
        )
    warnings = [
        f"One slice is missing between z = {positions[i, 2]:.1f} and {positions[i + 1, 2]:.1f} mm"
        " and was interpolated from its neighbours."
        for i in np.flatnonzero(counts == 2)
    ]
    if not even:
        warnings.append(
            f"The distance between slices varies from {(gaps / counts).min():.2f} to"
            f" {(gaps / counts).max():.2f} mm: the volume was resampled to even spacing."
        )
    tolerance_mm = ROUNDING_MM if even else SPACING_TOLERANCE * median
    places = np.linspace(heights[0], heights[-1], int(counts.sum()) + 1)
    return [_mixture(height, heights, tolerance_mm) for height in places], warnings


def _even(heights: NDArray[np.float64], places: NDArray[np.integer]) -> bool:
    """Whether planes at `heights` lie at the numbered places of an even stack from the first to the last."""
    expected = heights[0] + (heights[-1] - heights[0]) * places / places[-1]
    return bool(np.abs(heights - expected).max() <= ROUNDING_MM)


def _mixture(height: float, heights: NDArray[np.float64], tolerance_mm: float) -> StackedSlice:
    """The slice at `height` out of planes at `heights`; a plane within the tolerance is taken as it is."""
    nearest = int(np.abs(heights - height).argmin())
    if abs(heights[nearest] - height) <= tolerance_mm:
        return StackedSlice(nearest, nearest, 0.0)
    upper = int(np.searchsorted(heights, height))
    weight = (height - heights[upper - 1]) / (heights[upper] - heights[upper - 1])
    return StackedSlice(upper - 1, upper, float(weight))


def _affine(planes: Sequence[ImagePlane], slices: int) -> NDArray[np.float64]:
    first = planes[0]
    affine = np.eye(4)
    affine[:3, 0] = np.array(first.orientation[:3]) * first.pixel_spacing_mm[1]
    affine[:3, 1] = np.array(first.orientation[3:]) * first.pixel_spacing_mm[0]
    affine[:3, 2] = (np.array(planes[-1].position_mm) - np.array(first.position_mm)) / (slices - 1)
    affine[:3, 3] = first.position_mm
    return affine
