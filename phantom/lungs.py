"""Lung parenchyma: density, gravity, texture, fissures, and harmless small calcifications."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from phantom.canvas import BoolArray, Canvas, Ellipsoid
from phantom.cases import Case
from phantom.habitus import Habitus, Lung
from phantom.random_field import RandomField
from phantom.vessels import scatter


@dataclass(frozen=True)
class LungField:
    """One lung on a canvas: the part of the canvas around it and where in it the pleural cavity is."""

    lung: Lung
    canvas: Canvas
    inside: BoolArray


def lung_fields(canvas: Canvas, habitus: Habitus) -> list[LungField]:
    """The lungs that the canvas meets."""
    fields = []
    for lung in habitus.lungs:
        box = lung.box(canvas)
        if box is not None:
            fields.append(LungField(lung, box, habitus.pleural_space(lung, box.x, box.y, box.z)))
    return fields


def paint_parenchyma(field: LungField, habitus: Habitus, texture: RandomField, mottle: RandomField) -> None:
    """Aerated lung, denser towards the back, with fine texture and the oblique fissure."""
    canvas = field.canvas
    gravity = habitus.gravity_hu * (canvas.y / 100 - 0.0015 * canvas.z)
    density = habitus.texture_hu * texture.on(canvas)
    density += 0.5 * habitus.texture_hu * mottle.on(canvas)
    density += habitus.lung_hu + gravity
    canvas.fill(field.inside, density)
    fissure = np.abs(oblique_fissure(field.lung, canvas)) < 0.8
    canvas.fill(field.inside & fissure, -740)


def oblique_fissure(lung: Lung, canvas: Canvas) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Distance in mm above (positive) or below the oblique fissure, which rises from front to back."""
    height = -22 + 4 * lung.side + 0.75 * canvas.y + 0.0012 * canvas.x**2
    distance: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = (canvas.z - height) * np.float32(0.8)
    return distance


def draw_granulomas(habitus: Habitus, case: Case) -> list[Ellipsoid]:
    """Old calcified specks under 4 mm, which half of all people carry and which are no finding."""
    rng = case.stream("granulomas")
    specks = []
    for lung in habitus.lungs:
        for x, y, z in scatter(rng, habitus, lung, int(rng.integers(0, 3)), 0.8):
            radius = rng.uniform(1.0, 1.9)
            specks.append(Ellipsoid((float(x), float(y), float(z)), (radius, radius, radius)))
    return specks
