"""Heart, great vessels, airways and gullet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from phantom.body import FAT_HU
from phantom.canvas import Canvas, Ellipsoid, Point
from phantom.capsules import Capsules
from phantom.cases import Case
from phantom.habitus import Habitus
from phantom.skeleton import spine_axis
from phantom.vessels import hilum


@dataclass(frozen=True)
class Mediastinum:
    """Everything between one patient's lungs; vessels' radii scale with `calibre`."""

    habitus: Habitus
    calibre: float
    main_airways: list[Capsules]
    lobar_bronchi: list[Capsules]

    @staticmethod
    def draw(case: Case, habitus: Habitus) -> Mediastinum:
        """Draw the calibres of vessels and airways."""
        rng = case.stream("mediastinum")
        calibre = habitus.scale * rng.uniform(0.9, 1.12)
        return Mediastinum(habitus, calibre, *_airways(habitus, rng.uniform(0.9, 1.15)))

    def paint(self, canvas: Canvas, heart_label: int) -> None:
        """Paint all of it; `heart_label` marks the heart on a labelled canvas."""
        _paint_fat(canvas, self.habitus)
        _paint_tubes(canvas, self.lobar_bronchi)  # a large heart pushes them aside
        _paint_heart(canvas, self.habitus, heart_label)
        _paint_great_vessels(canvas, self.habitus, self.calibre)
        _paint_tubes(canvas, self.main_airways)


def _paint_fat(canvas: Canvas, habitus: Habitus) -> None:
    """The tissue that keeps the lungs apart: wide at the hila, narrow in front of the great vessels."""
    box = canvas.box((-45, -habitus.cage_depth, -150), (45, habitus.cage_depth, 200))
    if box is None:
        return
    root = np.exp(-(((box.z - 22) / 42) ** 2))
    above = 1 / (1 + np.exp(-(box.z - habitus.top + 30) / 9))
    width = 13 + 17 * root * np.exp(-(((box.y - 2) / 34) ** 2)) + 14 * above
    cage = habitus.cage_level(box.x, box.y, box.z) < 1
    box.fill((np.abs(box.x) < width) & cage, FAT_HU)


def _paint_heart(canvas: Canvas, habitus: Habitus, label: int) -> None:
    heart = habitus.heart
    (x, y, z), (long, short, high) = heart.centre, heart.radii
    atrium = Ellipsoid(
        (x - 0.62 * long, y + 0.30 * short, z + 0.15 * high), (0.5 * long, 0.62 * short, 0.72 * high)
    )
    base = Ellipsoid(
        (x - 0.22 * long, y + 0.62 * short, z + 0.42 * high), (0.56 * long, 0.5 * short, 0.56 * high)
    )
    for part in (heart, atrium, base):
        part.scaled(1.06).paint(canvas, FAT_HU)
    for part in (heart, atrium, base):
        part.paint(canvas, 48 if not habitus.contrast else 95, label)
    for part in (atrium.scaled(0.9), base.scaled(0.9)):
        part.paint(canvas, habitus.blood_hu, label)
    chamber = Ellipsoid(
        (x + 0.05 * long, y + 0.12 * short, z), (0.66 * long, 0.38 * short, 0.6 * high), heart.turn, heart.tip
    )
    chamber.paint(canvas, habitus.blood_hu, label)


def _paint_great_vessels(canvas: Canvas, habitus: Habitus, calibre: float) -> None:
    s = habitus.scale
    spine = float(spine_axis(habitus, np.zeros(1, dtype=np.float32))[0])
    root_z = habitus.heart.centre[2] + 0.5 * habitus.heart.radii[2]
    aorta = Capsules.path(
        [
            (2, -22, root_z),
            (-15 * s, -30, 25),
            (-12 * s, -28, 42),
            (-4 * s, -18, 56),
            (8 * s, 4, 61),
            (18 * s, 26, 54),
            (22 * s, spine - 24, 40),
            (21 * s, spine - 18, 10),
            (17 * s, spine - 18, -40),
            (12 * s, spine - 20, -170),
        ],
        [16.5, 16, 15, 14, 13.5, 12.5, 12, 11.5, 11],
    )
    veins = Capsules.path(
        [(-26 * s, -12, 5), (-25 * s, -18, 50), (-22 * s, -14, 78), (-38 * s, -20, habitus.top + 10)],
        [9.5, 9, 7],
    )
    left_vein = Capsules.path(
        [(-22 * s, -20, 72), (6 * s, -30, 80), (36 * s, -18, habitus.top + 8)], [6.5, 6.5]
    )
    branches = [
        Capsules.path([(x0 * s, y0, 62), (x1 * s, y1, habitus.top + 30)], [r])
        for x0, y0, x1, y1, r in ((-6, -14, -24, -6, 6.0), (5, 2, 20, 4, 4.5), (14, 18, 32, 12, 5.0))
    ]
    right, left = (hilum(lung, habitus) for lung in habitus.lungs)
    pulmonary = [
        Capsules.path(
            [(18 * s, -38, root_z), (19 * s, -26, 20), (22 * s, -8, 28), (left[0], left[1], left[2])],
            [14, 13, 10],
        ),
        Capsules.path([(17 * s, -18, 22), (-8 * s, -4, 17), (right[0] + 4, right[1], right[2])], [11.5, 10]),
    ]
    for tube in (aorta, veins, left_vein, *branches, *pulmonary):
        Capsules(tube.start, tube.end, tube.radius * np.float32(calibre)).fill(canvas, habitus.blood_hu)
    Capsules.path(
        [(4, spine - 26, habitus.top + 30), (4, spine - 27, 20), (10, spine - 30, -150)], [6, 6.5]
    ).fill(canvas, 38)
    Capsules.path([(-9, spine - 18, 30), (-8, spine - 17, -150)], [3.5]).fill(canvas, habitus.blood_hu)


def _airways(habitus: Habitus, calibre: float) -> tuple[list[Capsules], list[Capsules]]:
    """Windpipe and main bronchi; lobar bronchi."""
    s = habitus.scale
    right, left = (hilum(lung, habitus) for lung in habitus.lungs)
    carina, right_branch = (0.0, 12.0, 33.0), (-24 * s, 14.0, 14.0)
    right_end = (right[0] - 5, right[1] + 9, right[2] - 10)
    left_end = (left[0] + 5, left[1] + 12, left[2] - 10)
    central = [
        ([(0.0, -4.0, habitus.top + 40), (1.0, 4.0, 75.0), carina], [8.7, 8.2]),
        ([carina, right_branch, right_end], [6.8, 5.6]),
        ([carina, (24 * s, 16.0, 18.0), left_end], [6.0, 5.2]),
    ]
    lobar = [
        ([right_branch, (right[0] - 14, right[1] + 2, right[2] + 20)], [3.8]),
        ([right_end, (right[0] - 16, 22.0, -42.0)], [3.6]),
        ([right_end, (right[0] - 20, -24.0, -32.0)], [2.8]),
        ([left_end, (left[0] + 14, -4.0, left[2] + 14)], [3.4]),
        ([left_end, (left[0] + 18, 26.0, -40.0)], [3.4]),
    ]
    return _tubes(central, calibre), _tubes(lobar, calibre)


def _tubes(paths: list[tuple[list[Point], list[float]]], calibre: float) -> list[Capsules]:
    return [Capsules.path(points, [radius * calibre for radius in radii]) for points, radii in paths]


def _paint_tubes(canvas: Canvas, tubes: list[Capsules]) -> None:
    for tube in tubes:
        tube.widened(1.4).fill(canvas, 20)
    for tube in tubes:
        tube.fill(canvas, -990)
