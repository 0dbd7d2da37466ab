"""A head: skull, brain, ventricles, and the air of sinuses, mastoids and pharynx, which is not lung."""

from __future__ import annotations

import numpy as np

from phantom.canvas import Canvas, Ellipsoid, Point
from phantom.capsules import Capsules
from phantom.grid import FloatArray, Grid, centred_grid
from phantom.random_field import RandomField
from phantom.scene import HuArray, sample

_BONE_HU, _DIPLOE_HU, _FAT_HU = 1150.0, 520.0, -85.0


def head_grid(slices: int = 128) -> Grid:
    """A usual acquisition: 512 x 512 pixels of 0.49 mm, slices of 1.25 mm from jaw to vertex."""
    return centred_grid((1.25, 0.49, 0.49), (slices, 512, 512))


class Head:
    """One head, its size and asymmetries drawn from the seed; a `phantom.scene.Scene`."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng([seed, *b"head"])
        self._size = float(rng.uniform(0.94, 1.05))
        self._ventricles = float(rng.uniform(0.8, 1.4))
        self._sinuses = float(rng.uniform(0.8, 1.1))
        self._matter = RandomField(rng, (9.0, 9.0, 9.0))
        self._cells = RandomField(rng, (3.2, 3.2, 3.2))
        x, y, z = rng.uniform(-4, 4, size=3)
        self._centre = (float(x), float(y), float(z) - 4.0)

    @property
    def centre(self) -> Point:
        """The middle of the skull, a little below the middle of the acquisition."""
        return self._centre

    def paint(self, canvas: Canvas) -> None:
        """Paint the head and its rest."""
        self._paint_rest(canvas)
        self._paint_scalp_and_skull(canvas)
        self._paint_brain(canvas)
        self._paint_below_skull(canvas)
        self._paint_face(canvas)
        self._paint_air(canvas)

    def _at(self, centre: Point, radii: Point, turn: float = 0.0) -> Ellipsoid:
        s = self._size
        (x, y, z), (a, b, c) = centre, radii
        return Ellipsoid((s * x, s * y, s * z), (s * a, s * b, s * c), turn)

    def _pair(self, centre: Point, radii: Point, turn: float = 0.0) -> list[Ellipsoid]:
        x, y, z = centre
        return [self._at((side * x, y, z), radii, side * turn) for side in (-1, 1)]

    def _paint_rest(self, canvas: Canvas) -> None:
        shell = ((canvas.x / 118) ** 2 + ((canvas.y - 4) / 116) ** 2) ** 0.5
        below = (canvas.y > 40) & (canvas.z > -400)
        canvas.fill((np.abs(shell - 1) < 0.008) & below, 80)
        canvas.fill((np.abs(shell - 0.955) < 0.03) & below, -940)

    def _paint_scalp_and_skull(self, canvas: Canvas) -> None:
        face = self._at((0, -34, -70), (60, 62, 62))
        neck = Capsules.path([(0, 18 * self._size, -60), (0, 14 * self._size, -300)], [58 * self._size])
        skull = self._at((0, 0, 0), (72, 91, 76))
        for part in (skull.scaled(1.09), face):
            part.paint(canvas, 20)
        neck.fill(canvas, 45)
        skull.scaled(1.06).paint(canvas, _FAT_HU)
        face.scaled(0.95).paint(canvas, _FAT_HU)
        self._at((0, -20, -75), (46, 50, 40)).paint(canvas, 55)
        skull.paint(canvas, _BONE_HU)
        skull.scaled(0.975).paint(canvas, _DIPLOE_HU)
        skull.scaled(0.95).paint(canvas, _BONE_HU)

    def _paint_brain(self, canvas: Canvas) -> None:
        brain = self._at((0, 0, 0), (67, 86, 71))
        box = canvas.around(brain.centre, brain.radii)
        if box is None:
            return
        level = brain.level(box.x, box.y, box.z)
        matter = self._matter.on(box)
        inside = level < 1
        box.fill(inside, 8)  # fluid around the brain and in its furrows
        cortex = level + 0.05 * matter < 0.95
        box.fill(cortex, 40)
        box.fill(cortex & (level + 0.16 * matter < 0.72), 26)
        box.fill(inside & (np.abs(box.x) < 0.9) & (box.z > 0), 48)  # falx
        box.fill(inside & (box.z < _skull_base(box)), 620)
        self._at((0, 48, -26), (44, 30, 20)).paint(canvas, 36)  # cerebellum
        v = self._ventricles
        for horn in self._pair((12, -8, 18), (6 * v, 34, 9 * v), 0.22):
            horn.paint(canvas, 6)
        self._at((0, 4, 4), (2.6 * v, 14, 9)).paint(canvas, 6)
        for plexus in self._pair((17, 20, 14), (2.5, 4, 3)):
            plexus.paint(canvas, 160)

    def _paint_below_skull(self, canvas: Canvas) -> None:
        skull = self._at((0, 0, 0), (72, 91, 76))
        box = canvas.around(skull.centre, skull.radii)
        if box is not None:
            below = box.z < _skull_base(box) - 9
            box.fill((skull.level(box.x, box.y, box.z) < 1) & below, 52)

    def _paint_face(self, canvas: Canvas) -> None:
        for orbit in self._pair((30, -62, -34), (17, 23, 15)):
            orbit.scaled(1.1).paint(canvas, 700)
            orbit.paint(canvas, _FAT_HU)
        for globe in self._pair((30, -73, -34), (12, 12, 12)):
            globe.paint(canvas, 22)
            globe.scaled(0.86).paint(canvas, 8)
        for lens in self._pair((30, -82, -34), (4.5, 2, 4.5)):
            lens.paint(canvas, 85)
        s = self._size
        jaw = [(-48, 8, -62), (-42, -50, -96), (0, -84, -104), (42, -50, -96), (48, 8, -62)]
        Capsules.path([(s * x, s * y, s * z) for x, y, z in jaw], [7, 7, 7, 7]).fill(canvas, _BONE_HU)
        spine = Capsules.path([(0, 34 * s, -68 * s), (0, 36 * s, -300)], [14])
        spine.fill(canvas, 700)
        spine.widened(-3).fill(canvas, 260)
        Capsules.path([(0, 52 * s, -60 * s), (0, 54 * s, -300)], [9]).fill(canvas, 30)

    def _paint_air(self, canvas: Canvas) -> None:
        k = self._sinuses
        cavities = [
            *self._pair((30, -70, -66), (13 * k, 15 * k, 17 * k)),  # maxillary
            *self._pair((9, -86, -10), (9 * k, 4, 10 * k), 0.2),  # frontal
            *self._pair((7, -34, -44), (7, 11 * k, 8)),  # sphenoidal
        ]
        for cavity in cavities:
            cavity.scaled(1.1).paint(canvas, 800)
            cavity.paint(canvas, -1000)
        for passage in self._pair((7, -74, -64), (4.5, 30, 20)):
            passage.paint(canvas, -1000)
        for maze in (*self._pair((7, -66, -38), (6, 18, 9)), *self._pair((56, 32, -50), (11, 16, 17))):
            box = canvas.around(maze.centre, maze.radii)
            if box is not None:  # ethmoidal and mastoid cells: thin bone around specks of air
                inside, cells = maze.level(box.x, box.y, box.z) < 1, self._cells.on(box)
                box.fill(inside, 550)
                box.fill(inside & (np.abs(cells) > 0.22), -960)
        for canal in self._pair((66, 10, -50), (14, 3.2, 3.2)):
            canal.paint(canvas, -1000)
        s = self._size
        Capsules.path([(0, -8 * s, -60 * s), (0, 4 * s, -300)], [8]).fill(canvas, -1000)  # pharynx


def _skull_base(canvas: Canvas) -> FloatArray:
    """Height of the skull's base: higher under the frontal lobes than under the cerebellum."""
    height: FloatArray = -44 - 22 * np.tanh((canvas.y + 8) / 30)
    return height


def render_head(
    seed: int, grid: Grid, *, noise_hu: float = 5.0, rng: np.random.Generator | None = None
) -> HuArray:
    """Sample a head at the points of a grid, int16 Hounsfield units [z, y, x]."""
    return sample(Head(seed), grid, noise_hu, np.random.default_rng(seed) if rng is None else rng)
