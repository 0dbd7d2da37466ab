"""Body habitus: the sizes and shapes of one thorax, drawn from its case.

Coordinates are the patient's own (mm, LPS directions): x = 0 the spine's midline, y = 0 the middle of the rib
cage from front to back, z = 0 the middle of the lungs' height.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from phantom.canvas import BoolArray, Canvas, Ellipsoid, Point
from phantom.cases import Case
from phantom.grid import FloatArray

WIDEST_MM = -45.0  # height of the rib cage's greatest width


@dataclass(frozen=True)
class Lung:
    """One lung as an inequality: inside `level` below 1 and above `diaphragm`; lengths in mm.

    `side` is -1 for the right lung and +1 for the left one, the sign of x.
    """

    side: int
    apex: float
    width: float
    depth: float
    medial: float
    dome_centre: Point
    dome_height: float
    dome_radii: tuple[float, float]

    def outer_edge(self, z: FloatArray) -> FloatArray:
        """Distance of the lateral border from the midline at height z."""
        inner = np.float32(self.medial + 14)
        return inner + (self.width - inner) * self._taper(z)

    def level(self, x: FloatArray, y: FloatArray, z: FloatArray) -> FloatArray:
        """0 on the lung's axis, 1 on the pleura; the arguments broadcast."""
        taper = self._taper(z)
        inner = self.medial + 14 * (1 - taper)
        outer = self.outer_edge(z)
        half = np.maximum((outer - inner) / 2, 1)
        across = (self.side * x - (outer + inner) / 2) / half
        # Flat against the mediastinum, round against the ribs.
        across = np.where(across > 0, np.abs(across) ** 2.2, across**4) + np.where(z > self.apex, 9, 0)
        along = (np.abs(y - 6 * (1 - taper)) / (self.depth * taper**0.8)) ** 2.3
        level: FloatArray = across.astype(np.float32) + along.astype(np.float32)
        return level

    def diaphragm(self, x: FloatArray, y: FloatArray) -> FloatArray:
        """Height of the dome above (x, y)."""
        cx, cy, top = self.dome_centre
        rx, ry = self.dome_radii
        fall = ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2
        height: FloatArray = np.float32(top) - np.float32(self.dome_height) * fall.astype(np.float32)
        return height

    def box(self, canvas: Canvas) -> Canvas | None:
        """The part of the canvas that holds the lung."""
        near, far = sorted((0.0, self.side * (self.width + 1)))
        return canvas.box((near, -self.depth - 8, -190), (far, self.depth + 8, self.apex))

    def _taper(self, z: FloatArray) -> FloatArray:
        above = np.clip((z - WIDEST_MM) / (self.apex - WIDEST_MM), 0, 1)
        below = np.clip((WIDEST_MM - z) / 90, 0, 1)
        taper: FloatArray = np.sqrt(np.maximum(1 - above**2.6, 1e-3)) * (1 - 0.10 * below**2)
        return taper.astype(np.float32)


@dataclass(frozen=True)
class Habitus:
    """The measures of one thorax; lengths in mm, densities in HU."""

    centre: Point  # of the patient in the world, whose origin is the middle of the acquisition
    female: bool
    scale: float
    fat: float
    muscle: float
    cage_width: float
    cage_depth: float
    right: Lung
    left: Lung
    lung_hu: float
    gravity_hu: float
    texture_hu: float
    blood_hu: float
    contrast: bool
    heart: Ellipsoid
    hyperinflated: bool

    @property
    def lungs(self) -> tuple[Lung, Lung]:
        """Right, left."""
        return self.right, self.left

    @property
    def top(self) -> float:
        """Height of the higher apex."""
        return max(self.right.apex, self.left.apex)

    @property
    def bottom(self) -> float:
        """A height below the deepest costophrenic recess."""
        x, y = np.meshgrid(
            np.linspace(-150, 150, 61, dtype=np.float32), np.linspace(-120, 120, 49, dtype=np.float32)
        )
        lowest = []
        for lung in self.lungs:
            height = lung.diaphragm(x, y)
            inside = self.pleural_space(lung, x, y, height + 1)
            lowest.append(float(height[inside].min()))
        return min(lowest)

    def cage_level(self, x: FloatArray, y: FloatArray, z: FloatArray) -> FloatArray:
        """1 on the inner face of the ribs; grows by about 0.02 a millimetre."""
        top = self.top + 16
        above = np.clip((z - WIDEST_MM) / (top - WIDEST_MM), 0, 1)
        taper = np.sqrt(np.maximum(1 - above**2.8, 0.02)).astype(np.float32)
        across = (np.abs(x) / (self.cage_width * taper + 3)) ** 2.3
        along = (np.abs(y) / (self.cage_depth * taper**0.7 + 3)) ** 2.3
        level: FloatArray = across.astype(np.float32) + along.astype(np.float32)
        return level

    def pleural_space(self, lung: Lung, x: FloatArray, y: FloatArray, z: FloatArray) -> BoolArray:
        """Where one lung's pleural cavity is, before the mediastinum takes its part of it."""
        inside: BoolArray = (
            (lung.level(x, y, z) < 1) & (self.cage_level(x, y, z) < 1) & (z > lung.diaphragm(x, y))
        )
        return inside


def draw_habitus(case: Case) -> Habitus:
    """Draw a case's thorax, changed as its findings change it (hyperinflation, size of the heart)."""
    rng = case.stream("habitus")
    female = bool(rng.random() < 0.5)
    scale = float(np.clip(rng.normal(0.97 if female else 1.03, 0.045), 0.87, 1.13))
    width = 128 * scale * rng.uniform(0.95, 1.05)
    depth = 90 * scale * rng.uniform(0.92, 1.08)
    apex = 112 * scale * rng.uniform(0.95, 1.04)
    dome_top = -62 * scale + rng.uniform(-12, 12)
    dome_height = 48 * scale * rng.uniform(0.85, 1.15)
    contrast = bool(rng.random() < 0.3)
    blood = rng.uniform(140, 260) if contrast else rng.uniform(34, 48)
    lung_hu, gravity, texture = rng.uniform(-880, -825), rng.uniform(20, 60), rng.uniform(16, 28)
    fat, muscle = rng.uniform(7, 24) + 4 * female, rng.uniform(9, 17)
    off_centre = rng.uniform(-1, 1, size=3) * (10, 12, 9)
    left_lower, left_apex = rng.uniform(6, 18), rng.uniform(-4, 5)
    heart = _draw_heart(case, rng, scale, dome_top)

    hyperinflated = "Emphysema" in case.findings
    if hyperinflated:
        change = case.stream("hyperinflation")
        apex += change.uniform(2, 8)
        dome_top -= change.uniform(12, 24)
        dome_height *= change.uniform(0.45, 0.65)
        depth *= change.uniform(1.03, 1.10)
        lung_hu -= change.uniform(15, 40)

    def lung(side: int) -> Lung:
        lower, higher = (left_lower, left_apex) if side > 0 else (0.0, 0.0)
        return Lung(
            side=side,
            apex=apex + higher,
            width=width - (2 if side > 0 else 0),
            depth=depth,
            medial=7.0,
            dome_centre=(side * width * 0.56, -10.0, dome_top - lower),
            dome_height=dome_height,
            dome_radii=(0.70 * width, 0.98 * depth),
        )

    return Habitus(
        centre=(float(off_centre[0]), float(off_centre[1]), float(off_centre[2])),
        female=female,
        scale=scale,
        fat=fat,
        muscle=muscle,
        cage_width=width,
        cage_depth=depth,
        right=lung(-1),
        left=lung(+1),
        lung_hu=lung_hu,
        gravity_hu=gravity,
        texture_hu=texture,
        blood_hu=blood,
        contrast=contrast,
        heart=heart,
        hyperinflated=hyperinflated,
    )


def _draw_heart(case: Case, rng: np.random.Generator, scale: float, dome_top: float) -> Ellipsoid:
    """The heart, left of the midline, its tip forward; a normal one is up to half the chest's width."""
    size = scale * rng.uniform(0.88, 1.06)
    turn, tip = rng.uniform(-0.75, -0.5), rng.uniform(-0.35, -0.15)
    x, y = rng.uniform(15, 23) * scale, rng.uniform(-30, -22) * scale
    if "Cardiomegaly" in case.findings:
        change = case.stream("cardiomegaly")
        size *= change.uniform(1.32, 1.5)
        x += 8 * scale
        y += 4 * scale
    radii = (58 * size, 43 * size, 46 * size)
    return Ellipsoid((x, y, dome_top + 0.42 * radii[2] + 6), radii, turn, tip)
