"""What surrounds the chest: table, skin, fat, muscles, breasts, and the organs below the diaphragm."""

from __future__ import annotations

import numpy as np

from phantom.canvas import Canvas, Ellipsoid
from phantom.grid import FloatArray
from phantom.habitus import Habitus, Lung
from phantom.random_field import RandomField

FAT_HU = -95.0
MUSCLE_HU = 50.0


def outline(habitus: Habitus, canvas: Canvas, inset_mm: float) -> FloatArray:
    """Level of the body's surface drawn in by `inset_mm`: below 1 inside."""
    z = canvas.z
    wall = 9 + habitus.muscle + habitus.fat - inset_mm
    shoulders = 1 / (1 + np.exp(-(z - habitus.top + 24) / 10))
    width = habitus.cage_width + wall + 20 * shoulders
    depth = habitus.cage_depth + wall - 16 * shoulders
    # A body lies flat on its back: the same outline, squarer behind than in front.
    y = canvas.y + np.where(canvas.y > 0, 2, -2) * shoulders
    across = (np.abs(canvas.x) / width) ** 2.5
    along = np.where(y > 0, (np.abs(y) / depth) ** 3.0, (np.abs(y) / depth) ** 2.3)
    level: FloatArray = across.astype(np.float32) + along.astype(np.float32)
    return level


def paint_table(canvas: Canvas, habitus: Habitus) -> None:
    """A carbon-fibre shell around foam, hollow towards the patient."""
    back = habitus.cage_depth + 9 + habitus.muscle + habitus.fat
    depth = canvas.y - (back + 3 - 0.0011 * canvas.x**2)
    within = np.abs(canvas.x) < 205
    canvas.fill((depth > 0) & (depth < 26) & within, -930)
    canvas.fill((np.abs(depth - 12.5) > 11.5) & (np.abs(depth - 12.5) < 13.5) & within, 60)


def paint_body(canvas: Canvas, habitus: Habitus, marbling: RandomField) -> None:
    """Skin, subcutaneous fat, the muscle of the chest wall with fat between its bundles, breasts."""
    skin = outline(habitus, canvas, 0.0)
    canvas.fill(skin < 1, 0)
    canvas.fill(outline(habitus, canvas, 2.0) < 1, FAT_HU - 8)
    if habitus.female:
        _paint_breasts(canvas, habitus)
    muscle = outline(habitus, canvas, habitus.fat) < 1
    canvas.fill(muscle, MUSCLE_HU + 4 * marbling.on(canvas))
    bundles = outline(habitus, canvas, habitus.fat + 0.55 * habitus.muscle)
    canvas.fill((bundles < 1) & (bundles > 0.965), FAT_HU + 20)
    cage = habitus.cage_level(canvas.x, canvas.y, canvas.z)
    canvas.fill((cage < 1.24) & (bundles < 0.965), MUSCLE_HU)


def _paint_breasts(canvas: Canvas, habitus: Habitus) -> None:
    for side in (-1, 1):
        front = -(habitus.cage_depth + habitus.muscle + 0.55 * habitus.fat)
        breast = Ellipsoid(
            (side * 72 * habitus.scale, front + 8, -38), (56, 24 + 0.9 * habitus.fat, 58), side * 0.25
        )
        breast.scaled(1.04).paint(canvas, 0)
        breast.paint(canvas, FAT_HU - 8)
        box = canvas.around(breast.centre, 80.0)
        if box is not None:
            lobules = np.sin(box.x * 0.31) + np.sin(box.y * 0.37) + np.sin(box.z * 0.23 + box.x * 0.11)
            box.fill((breast.scaled(0.7).level(box.x, box.y, box.z) < 1) & (lobules > 0.9), 25)


def paint_abdomen(canvas: Canvas, habitus: Habitus) -> None:
    """Liver, spleen and stomach under the domes of the diaphragm, with fat around them."""
    low = canvas.box((-200, -200, -400), (200, 200, habitus.right.dome_centre[2] + 30))
    if low is None:
        return
    enhanced = 45.0 if habitus.contrast else 0.0
    wall = habitus.cage_level(low.x, low.y, low.z)
    for lung in habitus.lungs:
        half = low.x < 0 if lung.side < 0 else low.x >= 0
        below = lung.diaphragm(low.x, low.y) - low.z
        within = half & (wall < 0.98)
        low.fill(within & (below > 0), FAT_HU)
        low.fill(within & (below > 0) & (below < 3.5), 45)
        if lung.side < 0:
            low.fill(within & (wall < 0.93) & (below > 3) & (low.y < 62), 56 + enhanced)
        else:
            _paint_left_upper_abdomen(low, habitus, lung, enhanced)


def _paint_left_upper_abdomen(canvas: Canvas, habitus: Habitus, lung: Lung, enhanced: float) -> None:
    x, y, top = lung.dome_centre
    Ellipsoid((0.35 * x, -34, top - 42), (62, 36, 34), -0.2).paint(
        canvas, 56 + enhanced
    )  # left lobe of the liver
    Ellipsoid((x + 26, 44, top - 46), (24, 40, 36), 0.5).paint(canvas, 48 + 1.5 * enhanced)  # spleen
    stomach = Ellipsoid((x - 8, y - 8, top - 36), (36, 40, 31))
    stomach.paint(canvas, 45)
    box = canvas.around(stomach.centre, stomach.radii)
    if box is None:
        return
    inside = stomach.scaled(0.9).level(box.x, box.y, box.z) < 1
    box.fill(inside, 18)
    box.fill(
        inside & (box.y < stomach.centre[1] - 8), -1000
    )  # gas rises to the front of a patient lying supine
