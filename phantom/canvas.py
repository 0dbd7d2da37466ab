"""The surface that structures are painted on: Hounsfield units at the points of a grid, back to front."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from phantom.grid import FloatArray, Grid

BoolArray = npt.NDArray[np.bool_]
Point = tuple[float, float, float]

AIR_HU = -1000.0


@dataclass(frozen=True)
class Canvas:
    """Hounsfield units [z, y, x] with the coordinates of its points, shaped to broadcast against them.

    Attributes
    ----------
    x, y, z
        Coordinates in mm, shapes (1, 1, X), (1, Y, 1), (Z, 1, 1).
    hu
        float32, shape (Z, Y, X).
    labels
        uint8 of the same shape, which finding was painted last on a voxel (0: none); None where nobody asks.
    """

    x: FloatArray
    y: FloatArray
    z: FloatArray
    hu: FloatArray
    labels: npt.NDArray[np.uint8] | None = None

    @staticmethod
    def blank(grid: Grid, centre_mm: Point, *, labelled: bool = False) -> Canvas:
        """Air on `grid`; coordinates are taken relative to `centre_mm` (x, y, z)."""
        x, y, z = (
            axis - np.float32(middle)
            for axis, middle in zip((grid.x_mm, grid.y_mm, grid.z_mm), centre_mm, strict=True)
        )
        return Canvas(
            x[None, None, :],
            y[None, :, None],
            z[:, None, None],
            np.full(grid.shape, AIR_HU, dtype=np.float32),
            np.zeros(grid.shape, dtype=np.uint8) if labelled else None,
        )

    def box(self, low: Point, high: Point) -> Canvas | None:
        """The part between two corners (x, y, z), as views; None if no point lies there."""
        cuts = []
        for axis, a, b in zip((self.x, self.y, self.z), low, high, strict=True):
            first, last = np.searchsorted(axis.ravel(), (a, b))
            if first >= last:
                return None
            cuts.append(slice(int(first), int(last)))
        x, y, z = cuts
        labels = None if self.labels is None else self.labels[z, y, x]
        return Canvas(self.x[:, :, x], self.y[:, y], self.z[z], self.hu[z, y, x], labels)

    def around(self, centre: Point, reach: Point | float) -> Canvas | None:
        """The box `reach` mm to either side of `centre`."""
        rx, ry, rz = reach if isinstance(reach, tuple) else (reach, reach, reach)
        cx, cy, cz = centre
        return self.box((cx - rx, cy - ry, cz - rz), (cx + rx, cy + ry, cz + rz))

    def fill(self, where: BoolArray, hu: float | FloatArray, label: int = 0) -> None:
        """Paint `hu` where the mask (broadcast to the canvas) holds; whatever was there is gone."""
        np.copyto(self.hu, hu, where=where)
        if self.labels is not None:
            np.copyto(self.labels, np.uint8(label), where=where)


@dataclass(frozen=True)
class Ellipsoid:
    """An ellipsoid, its first axis turned from x towards y by `turn` and towards z by `tip` (radians)."""

    centre: Point
    radii: Point
    turn: float = 0.0
    tip: float = 0.0

    def level(self, x: FloatArray, y: FloatArray, z: FloatArray) -> FloatArray:
        """Squared radius: below 1 inside; the arguments broadcast."""
        dx, dy, dz = x - self.centre[0], y - self.centre[1], z - self.centre[2]
        if self.tip:
            cos, sin = np.float32(np.cos(self.tip)), np.float32(np.sin(self.tip))
            dx, dz = cos * dx + sin * dz, cos * dz - sin * dx
        if self.turn:
            cos, sin = np.float32(np.cos(self.turn)), np.float32(np.sin(self.turn))
            dx, dy = cos * dx + sin * dy, cos * dy - sin * dx
        rx, ry, rz = (np.float32(radius) for radius in self.radii)
        level: FloatArray = np.square(dx / rx) + np.square(dy / ry) + np.square(dz / rz)
        return level

    def scaled(self, factor: float) -> Ellipsoid:
        """The same with other radii."""
        rx, ry, rz = self.radii
        return Ellipsoid(self.centre, (factor * rx, factor * ry, factor * rz), self.turn, self.tip)

    def paint(self, canvas: Canvas, hu: float, label: int = 0) -> None:
        """Fill the ellipsoid."""
        reach = max(self.radii) if self.turn or self.tip else self.radii
        box = canvas.around(self.centre, reach)
        if box is not None:
            box.fill(self.level(box.x, box.y, box.z) < 1, hu, label)
