"""The six findings: each draws its size, side, place and count from the case and paints itself.

Emphysema changes the parenchyma under the vessels, a large heart is painted with the mediastinum (its size is
drawn in `habitus`); the other four are painted over the lung, in the order in which the one hides the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from phantom.canvas import BoolArray, Canvas, Ellipsoid, Point
from phantom.capsules import Capsules
from phantom.cases import FINDINGS, Case
from phantom.grid import FloatArray
from phantom.habitus import Habitus, Lung
from phantom.lungs import LungField, oblique_fissure
from phantom.random_field import RandomField
from phantom.vessels import hilum, scatter

LABELS = {name: index for index, name in enumerate(FINDINGS, start=1)}

Painter = Callable[[list[LungField]], None]


@dataclass(frozen=True)
class Emphysema:
    """Holes of destroyed lung, below -950 HU, more of them in the upper lobes."""

    holes: RandomField
    threshold: float
    upper: float
    hu: float

    @staticmethod
    def draw(case: Case) -> Emphysema:
        """Draw extent and grain; between a fifth and a half of the lung is lost."""
        rng = case.stream("Emphysema")
        grain = rng.uniform(6, 11)
        return Emphysema(
            RandomField(rng, (grain, grain, grain)), rng.uniform(-0.05, 0.65), rng.uniform(0.1, 0.8), -982.0
        )

    def paint(self, field: LungField) -> None:
        """Thin the parenchyma of one lung."""
        canvas = field.canvas
        where = field.inside & (self.holes.on(canvas) > self.threshold - self.upper * canvas.z / 100)
        canvas.fill(where, self.hu, LABELS["Emphysema"])


@dataclass(frozen=True)
class Nodules:
    """Solid round lesions with a lobulated edge, 12 to 30 mm across."""

    lobes: tuple[tuple[Ellipsoid, ...], ...]
    hu: float

    @staticmethod
    def draw(case: Case, habitus: Habitus) -> Nodules:
        """Draw one to four nodules, clear of the pleura and of the mediastinum."""
        rng = case.stream("Lung nodule")
        nodules = []
        for _ in range(1 + int(rng.choice(4, p=(0.4, 0.25, 0.2, 0.15)))):
            lung = habitus.lungs[int(rng.integers(2))]
            centre = scatter(rng, habitus, lung, 1, 0.72)[0]
            radius = rng.uniform(6, 15)
            lobes = [Ellipsoid(_point(centre), (0.85 * radius,) * 3)]
            for _ in range(5):
                direction = rng.standard_normal(3)
                offset = 0.55 * radius * direction / np.linalg.norm(direction)
                lobes.append(Ellipsoid(_point(centre + offset), (rng.uniform(0.42, 0.58) * radius,) * 3))
            nodules.append(tuple(lobes))
        return Nodules(tuple(nodules), rng.uniform(20, 60))

    def paint(self, fields: list[LungField]) -> None:
        """Paint every nodule that the lungs' canvases meet."""
        for field in fields:
            for lobe in (lobe for nodule in self.lobes for lobe in nodule):
                box = field.canvas.around(lobe.centre, lobe.radii)
                if box is not None:
                    box.fill(lobe.level(box.x, box.y, box.z) < 1, self.hu, LABELS["Lung nodule"])


@dataclass(frozen=True)
class Consolidation:
    """A segment or lobe filled with fluid: soft tissue with ragged edges, a hazy rim and open bronchi."""

    lung: Lung
    core: Ellipsoid
    above_fissure: bool
    ragged: RandomField
    bronchi: Capsules
    hu: float

    @staticmethod
    def draw(case: Case, habitus: Habitus) -> list[Consolidation]:
        """Draw one or two regions."""
        rng = case.stream("Consolidation")
        return [Consolidation._draw_one(rng, habitus) for _ in range(1 + int(rng.random() < 0.35))]

    @staticmethod
    def _draw_one(rng: np.random.Generator, habitus: Habitus) -> Consolidation:
        lung = habitus.lungs[int(rng.integers(2))]
        centre = scatter(rng, habitus, lung, 1, 0.8)[0]
        radius = rng.uniform(28, 52)
        core = Ellipsoid(
            _point(centre),
            (
                radius * rng.uniform(0.85, 1.1),
                radius * rng.uniform(0.85, 1.2),
                radius * rng.uniform(0.8, 1.1),
            ),
        )
        at = np.asarray(centre, dtype=np.float32)[:, None, None, None]
        above = bool(oblique_fissure(lung, Canvas(at[0], at[1], at[2], at[0])).item() > 0)
        return Consolidation(
            lung,
            core,
            above,
            RandomField(rng, (11.0, 11.0, 11.0)),
            _open_bronchi(rng, habitus, lung, core),
            rng.uniform(25, 55),
        )

    def paint(self, fields: list[LungField]) -> None:
        """Fill the region in its own lung."""
        for field in (field for field in fields if field.lung == self.lung):
            reach = tuple(1.5 * radius for radius in self.core.radii)
            canvas = field.canvas.around(self.core.centre, (reach[0], reach[1], reach[2]))
            if canvas is None:
                continue
            inside = _cut(field, canvas)
            level = self.core.level(canvas.x, canvas.y, canvas.z) + 0.3 * self.ragged.on(canvas)
            # The fissure stops it.
            lobe = inside & ((oblique_fissure(self.lung, canvas) > 0) == self.above_fissure)
            rim = lobe & (level < 1.35)
            canvas.fill(rim, np.maximum(canvas.hu, -560 + 60 * self.ragged.on(canvas)), 0)
            canvas.fill(lobe & (level < 1), self.hu, LABELS["Consolidation"])
            self.bronchi.fill_within(canvas, lobe & (level < 0.95), -960)


@dataclass(frozen=True)
class Effusion:
    """Free fluid behind one lung of a patient lying supine, deepest at the base, creeping up the walls."""

    lung: Lung
    depth_mm: float
    top_mm: float
    hu: float

    @staticmethod
    def draw(case: Case, habitus: Habitus) -> list[Effusion]:
        """Draw one side or both."""
        rng = case.stream("Pleural effusion")
        both, first = rng.random() < 0.4, int(rng.integers(2))
        lungs = habitus.lungs if both else (habitus.lungs[first],)
        return [
            Effusion(lung, rng.uniform(28, 75), rng.uniform(-10, 80), rng.uniform(4, 20)) for lung in lungs
        ]

    def paint(self, fields: list[LungField]) -> None:
        """Fluid, and in front of it a strip of lung that it has squeezed airless."""
        for field in (field for field in fields if field.lung == self.lung):
            canvas, lung = field.canvas, self.lung
            base = np.clip((self.top_mm - canvas.z) / (self.top_mm + 120), 0, 1) ** 0.6
            beside = (np.abs(canvas.x) - 0.55 * lung.width) / (0.45 * lung.width)
            surface = lung.depth - self.depth_mm * base - 14 * beside**2 * base + 4
            ahead = surface - canvas.y
            wet = field.inside & (canvas.z < self.top_mm)
            squeezed = wet & (ahead > 0) & (ahead < 9 * base)
            canvas.fill(squeezed, np.maximum(canvas.hu, 30 - 25 * ahead))
            canvas.fill(wet & (ahead < 0), self.hu, LABELS["Pleural effusion"])


@dataclass(frozen=True)
class Pneumothorax:
    """Air between chest wall and a lung that has shrunk towards its root; none of it holds vessels."""

    lung: Lung
    anchor: Point
    size: float
    denser_hu: float

    @staticmethod
    def draw(case: Case, habitus: Habitus) -> Pneumothorax:
        """Draw side and collapse; the air lies in front and at the apex of a supine patient."""
        rng = case.stream("Pneumothorax")
        lung = habitus.lungs[int(rng.integers(2))]
        root = hilum(lung, habitus)
        anchor = (root[0], root[1] + rng.uniform(20, 50), root[2] - rng.uniform(10, 50))
        size = rng.uniform(0.70, 0.88)
        return Pneumothorax(lung, anchor, size, 140 * (1 - size) / 0.4)

    def paint(self, fields: list[LungField], habitus: Habitus) -> None:
        """Shrink the lung; its edge shows as a fine line."""
        for field in (field for field in fields if field.lung == self.lung):
            canvas = field.canvas
            lung = field.inside & self._collapsed(canvas, habitus, self.size)
            edge = field.inside & self._collapsed(canvas, habitus, self.size + 0.016) & ~lung
            canvas.fill(lung, canvas.hu + self.denser_hu * (canvas.hu < -500))
            canvas.fill(field.inside & ~lung, -1000, LABELS["Pneumothorax"])
            canvas.fill(edge, -420)

    def _collapsed(self, canvas: Canvas, habitus: Habitus, size: float) -> BoolArray:
        x, y, z = (
            middle + (axis - middle) / np.float32(size)
            for axis, middle in zip((canvas.x, canvas.y, canvas.z), self.anchor, strict=True)
        )
        return habitus.pleural_space(self.lung, x, y, z)


def draw_painters(case: Case, habitus: Habitus) -> list[Painter]:
    """What the case's findings paint over its lungs, in order."""
    painters: list[Painter] = []
    if "Consolidation" in case.findings:
        painters += [region.paint for region in Consolidation.draw(case, habitus)]
    if "Lung nodule" in case.findings:
        painters.append(Nodules.draw(case, habitus).paint)
    if "Pneumothorax" in case.findings:
        collapse = Pneumothorax.draw(case, habitus)
        painters.append(lambda fields: collapse.paint(fields, habitus))
    if "Pleural effusion" in case.findings:
        painters += [effusion.paint for effusion in Effusion.draw(case, habitus)]
    return painters


def _point(at: FloatArray) -> Point:
    return float(at[0]), float(at[1]), float(at[2])


def _cut(field: LungField, canvas: Canvas) -> BoolArray:
    """The field's mask on a box of its own canvas."""
    whole = field.canvas
    z, y, x = (
        slice(start := int(np.searchsorted(axis.ravel(), part.flat[0])), start + part.size)
        for axis, part in ((whole.z, canvas.z), (whole.y, canvas.y), (whole.x, canvas.x))
    )
    return field.inside[z, y, x]


def _open_bronchi(rng: np.random.Generator, habitus: Habitus, lung: Lung, core: Ellipsoid) -> Capsules:
    """Branches that fan out from the side of the region that faces the hilum."""
    centre, root = np.asarray(core.centre), np.asarray(hilum(lung, habitus))
    radius = min(core.radii)
    inward = (root - centre) / max(float(np.linalg.norm(root - centre)), 1.0)
    stem = centre + 0.55 * radius * inward
    starts, ends, radii = [centre + 0.95 * radius * inward], [stem], [2.8]
    for _ in range(7):
        spread = rng.standard_normal(3)
        end = centre - 0.35 * radius * inward + 0.62 * radius * spread / np.linalg.norm(spread)
        starts.append(stem)
        ends.append(end)
        radii.append(rng.uniform(1.3, 2.2))
    return Capsules(
        np.asarray(starts, dtype=np.float32),
        np.asarray(ends, dtype=np.float32),
        np.asarray(radii, dtype=np.float32),
    )
