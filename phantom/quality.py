"""An image-quality phantom: a cylinder with inserts of known density, on the table, without a patient.

Densities are those usual for a sensitometry module at 120 kVp: air, polymethylpentene (PMP), low-density
polyethylene (LDPE), polystyrene, acrylic, Delrin, Teflon.
"""

from __future__ import annotations

import numpy as np

from phantom.canvas import Canvas, Point
from phantom.grid import FloatArray, Grid, centred_grid
from phantom.scene import HuArray, sample

INSERTS_HU = {
    "air": -1000.0,
    "PMP": -196.0,
    "LDPE": -104.0,
    "polystyrene": -47.0,
    "acrylic": 115.0,
    "Delrin": 365.0,
    "Teflon": 990.0,
}
RADIUS_MM = 100.0
INSERT_CIRCLE_MM = 58.4
INSERT_RADIUS_MM = 6.1
_CASE_HU, _BODY_HU = 125.0, 95.0


def quality_grid(slices: int = 128) -> Grid:
    """A usual acquisition of the phantom: 512 x 512 pixels of 0.5 mm, slices of 1.5 mm."""
    return centred_grid((1.5, 0.5, 0.5), (slices, 512, 512))


class QualityPhantom:
    """The phantom, set up a few millimetres and degrees off, as the seed draws; a `phantom.scene.Scene`."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng([seed, *b"quality"])
        x, y, z = rng.uniform(-3, 3, size=3)
        self._centre = (float(x), float(y), float(z))
        self._turn = float(rng.uniform(-0.05, 0.05))

    @property
    def centre(self) -> Point:
        """The middle of the cylinder."""
        return self._centre

    def insert_position_mm(self, name: str) -> tuple[float, float]:
        """(x, y) of an insert's axis in the world."""
        angle = self._turn + 2 * np.pi * list(INSERTS_HU).index(name) / len(INSERTS_HU) - np.pi / 2
        return (
            self._centre[0] + INSERT_CIRCLE_MM * float(np.cos(angle)),
            self._centre[1] + INSERT_CIRCLE_MM * float(np.sin(angle)),
        )

    def paint(self, canvas: Canvas) -> None:
        """Table, cylinder, and from the feet up the uniform, low-contrast, density and resolution modules."""
        _paint_table(canvas)
        box = canvas.box((-RADIUS_MM, -RADIUS_MM, -90), (RADIUS_MM, RADIUS_MM, 90))
        if box is None:
            return
        radius = np.hypot(box.x, box.y)
        within = (radius < RADIUS_MM) & (np.abs(box.z) < 90)
        box.fill(within, _CASE_HU)
        box.fill(within & (radius < 75), _BODY_HU)
        self._paint_low_contrast(box)
        self._paint_inserts(box)
        self._paint_line_pairs(box, radius)

    def _paint_inserts(self, canvas: Canvas) -> None:
        module = np.abs(canvas.z - 20) < 20
        for name, hu in INSERTS_HU.items():
            x, y = self.insert_position_mm(name)
            distance = np.hypot(canvas.x - (x - self._centre[0]), canvas.y - (y - self._centre[1]))
            canvas.fill((distance < INSERT_RADIUS_MM) & module, hu)

    def _paint_low_contrast(self, canvas: Canvas) -> None:
        module = np.abs(canvas.z + 30) < 18
        for i, size in enumerate((15, 9, 8, 7, 6, 5, 4)):
            angle = self._turn + i * 0.8
            distance = np.hypot(canvas.x - 50 * np.cos(angle), canvas.y - 50 * np.sin(angle))
            canvas.fill((distance < size / 2) & module, _BODY_HU + 10)

    def _paint_line_pairs(self, canvas: Canvas, radius: FloatArray) -> None:
        module = (np.abs(canvas.z - 65) < 4) & (np.abs(radius - 47) < 6)
        angle = np.arctan2(canvas.y, canvas.x) - self._turn + np.pi
        # Aluminium bars that grow finer around the circle.
        bars = np.sin((8 + 6 * angle) * angle * 2) > 0
        canvas.fill(module & bars, 2200)


def _paint_table(canvas: Canvas) -> None:
    depth = canvas.y - (RADIUS_MM + 22 - 0.0011 * canvas.x**2)
    canvas.fill((depth > 0) & (depth < 26) & (np.abs(canvas.x) < 205), -930)
    canvas.fill((np.abs(depth - 12.5) > 11.5) & (np.abs(depth - 12.5) < 13.5) & (np.abs(canvas.x) < 205), 60)


def render_quality(
    seed: int, grid: Grid, *, noise_hu: float = 6.0, rng: np.random.Generator | None = None
) -> HuArray:
    """Sample the phantom at the points of a grid, int16 Hounsfield units [z, y, x]."""
    return sample(QualityPhantom(seed), grid, noise_hu, np.random.default_rng(seed) if rng is None else rng)
