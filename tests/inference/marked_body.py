"""DICOM series of a body with a marker in one corner, sampled in any orientation from one description of it.

The body is a function of the patient's coordinates, and a series is what a scanner with such an orientation
would store of it: no index of any array enters, so that a flip anywhere cannot cancel itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from tests.inference.synthetic import ct_image

Vector = tuple[float, float, float]

CENTRE = np.array([12.0, -30.0, -400.0])
"""Middle of the body, LPS mm; nothing is symmetric about the origin."""

BODY_MM = np.array([40.0, 30.0, 35.0])  # half widths to the left, to the back, to the head
MARKER = CENTRE + 0.6 * BODY_MM
"""Middle of the marker, in the corner to the left, to the back, to the head."""

MARKER_MM = 6.0  # its half width
MARKER_HU, BODY_HU, AIR_HU = 900, 40, -1000
ROWS, COLUMNS = 100, 110


@dataclass(frozen=True)
class Orientation:
    """Directions (LPS) of a row's pixels and of a column's, and of the next slice along the table.

    `step` is in mm along the normal's line; the images are numbered in the direction of `step`.
    """

    row: Vector
    column: Vector
    step: Vector


def _rotated(degrees: float, axis: int, *vectors: Vector) -> list[Vector]:
    a, b = [index for index in range(3) if index != axis]
    turn = np.eye(3)
    angle = np.radians(degrees)
    turn[[a, a, b, b], [a, b, a, b]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
    turned = [tuple(float(value) for value in turn @ np.array(vector)) for vector in vectors]
    return [(vector[0], vector[1], vector[2]) for vector in turned]


ORIENTATIONS = {
    "head first, supine": Orientation((1, 0, 0), (0, 1, 0), (0, 0, 2)),
    "head first, prone": Orientation((-1, 0, 0), (0, -1, 0), (0, 0, 2)),
    "head first, on the left side": Orientation((0, -1, 0), (1, 0, 0), (0, 0, 2)),
    "head first, on the right side": Orientation((0, 1, 0), (-1, 0, 0), (0, 0, 2)),
    "feet first, supine": Orientation((-1, 0, 0), (0, 1, 0), (0, 0, -2)),
    "feet first, prone": Orientation((1, 0, 0), (0, -1, 0), (0, 0, -2)),
    "feet first, on the side": Orientation((0, 1, 0), (1, 0, 0), (0, 0, -2)),
    "reversed order": Orientation((1, 0, 0), (0, 1, 0), (0, 0, -2)),
    "turned by 20 degrees": Orientation(*_rotated(20, 2, (1, 0, 0), (0, 1, 0), (0, 0, 2))),
    "oblique by 10 degrees": Orientation(*_rotated(10, 0, (1, 0, 0), (0, 1, 0), (0, 0, 2))),
    "oblique, feet first": Orientation(*_rotated(-8, 1, (-1, 0, 0), (0, 1, 0), (0, 0, -2))),
}


def body_hu(points: NDArray[np.float64]) -> NDArray[np.int16]:
    """Hounsfield units at points (..., 3), LPS mm."""
    inside = (np.abs(points - CENTRE) <= BODY_MM).all(axis=-1)
    marked = (np.abs(points - MARKER) <= MARKER_MM).all(axis=-1)
    return np.where(marked, MARKER_HU, np.where(inside, BODY_HU, AIR_HU)).astype(np.int16)


def tilted(degrees: float) -> Orientation:
    """A gantry tilted about the left-right axis, while the table moved along the patient."""
    angle = np.radians(degrees)
    return Orientation((1, 0, 0), (0, float(np.cos(angle)), float(-np.sin(angle))), (0, 0, 2))


def marked_series(orientation: Orientation, slices: int = 48) -> list[Dataset]:
    """The series, its images numbered from the first to the last along `step`; pixels of 1.1 mm x 0.9 mm."""
    row, column, step = (np.array(v) for v in (orientation.row, orientation.column, orientation.step))
    first = CENTRE - (ROWS - 1) / 2 * 1.1 * column - (COLUMNS - 1) / 2 * 0.9 * row - (slices - 1) / 2 * step
    down, across = np.mgrid[:ROWS, :COLUMNS]
    images = []
    for index in range(slices):
        origin = first + index * step
        points = origin + 1.1 * down[..., None] * column + 0.9 * across[..., None] * row
        images.append(
            ct_image(
                index,
                body_hu(points) + np.int16(1024),
                position=(float(origin[0]), float(origin[1]), float(origin[2])),
                spacing=(1.1, 0.9),
                SliceThickness=2.0,
                ImageOrientationPatient=[*orientation.row, *orientation.column],
            )
        )
    return images
