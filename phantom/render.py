"""A case on a grid: the grid of its acquisition, Hounsfield units, and where its findings lie."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from phantom import body, findings, lungs, skeleton
from phantom.canvas import BoolArray, Canvas, Point
from phantom.capsules import Capsules
from phantom.cases import Case
from phantom.findings import Emphysema, Painter
from phantom.grid import Grid, centred_grid
from phantom.habitus import Habitus, draw_habitus
from phantom.mediastinum import Mediastinum
from phantom.random_field import RandomField
from phantom.scene import HuArray, sample, slabs
from phantom.vessels import grow_vessels

_CALCIUM_HU = 350.0
_SLICE_STEP_MM = 2.5
_FEWEST_SLICES = 120


class Thorax:
    """Everything of a case that does not depend on the grid; a `phantom.scene.Scene`."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.habitus: Habitus = draw_habitus(case)
        self._texture = RandomField(case.stream("texture"), (5.0, 5.0, 6.0))
        self._mottle = RandomField(case.stream("mottle"), (22.0, 22.0, 26.0))
        self._marbling = RandomField(case.stream("marbling"), (18.0, 18.0, 24.0))
        self._vessels: list[Capsules] = [
            grow_vessels(case.stream(f"vessels {lung.side}"), self.habitus, lung)
            for lung in self.habitus.lungs
        ]
        self._granulomas = lungs.draw_granulomas(self.habitus, case)
        self._emphysema = Emphysema.draw(case) if "Emphysema" in case.findings else None
        self._painters: list[Painter] = findings.draw_painters(case, self.habitus)
        self._mediastinum = Mediastinum.draw(case, self.habitus)

    @property
    def centre(self) -> Point:
        """Where the patient lies in the world, whose origin is the middle of the acquisition."""
        return self.habitus.centre

    def paint(self, canvas: Canvas) -> None:
        """Paint the whole thorax, back to front: what is painted later hides what was there."""
        habitus = self.habitus
        body.paint_table(canvas, habitus)
        body.paint_body(canvas, habitus, self._marbling)
        fields = lungs.lung_fields(canvas, habitus)
        for field in fields:
            lungs.paint_parenchyma(field, habitus, self._texture, self._mottle)
            if self._emphysema is not None:
                self._emphysema.paint(field)
        for tree in self._vessels:
            tree.brighten(canvas, habitus.blood_hu)
        for speck in self._granulomas:
            speck.paint(canvas, _CALCIUM_HU)
        for paint in self._painters:
            paint(fields)
        large_heart = findings.LABELS["Cardiomegaly"] if "Cardiomegaly" in self.case.findings else 0
        self._mediastinum.paint(canvas, large_heart)
        body.paint_abdomen(canvas, habitus)
        skeleton.paint_ribs(canvas, habitus)
        skeleton.paint_front_and_shoulders(canvas, habitus)
        skeleton.paint_spine(canvas, habitus)


@lru_cache(maxsize=2)
def thorax(case: Case) -> Thorax:
    """The case's thorax; the last two are kept: a case is asked first for its grid, then for its voxels."""
    return Thorax(case)


def acquisition_grid(case: Case, columns: int = 512, rows: int = 512, slices: int | None = None) -> Grid:
    """The grid of a case's acquisition: pixels of 0.7 to 0.8 mm, slices 2.5 mm apart.

    Its middle is the world's origin. Both lungs lie inside it with a margin of 8 to 20 mm; `slices` asks for
    another number than that takes (at least 120), at the same distance. With fewer columns the pixels
    grow, and the field of view stays.
    """
    rng = case.stream("acquisition")
    habitus = thorax(case).habitus
    middle = habitus.centre[2]
    reach = max(middle + habitus.top, -(middle + habitus.bottom)) + rng.uniform(8, 20)
    number = max(_FEWEST_SLICES, math.ceil(2 * reach / _SLICE_STEP_MM)) if slices is None else slices
    pixel = round(float(rng.uniform(0.70, 0.80)) * 512 / max(columns, rows), 4)
    return centred_grid((_SLICE_STEP_MM, pixel, pixel), (number, rows, columns))


def render(
    case: Case, grid: Grid, *, noise_hu: float = 14.0, rng: np.random.Generator | None = None
) -> HuArray:
    """Sample a case at the points of a grid.

    For an encoder's input the grid is `phantom.grid.prepared_grid` of the acquisition's: trilinear resampling
    without antialiasing is point sampling with a little less noise.

    Parameters
    ----------
    case, grid
        What and where.
    noise_hu
        Standard deviation of white noise; 0 for none. What resampling leaves of an acquisition's noise on the
        encoder's grid is 8 to 20 HU.
    rng
        Where the noise comes from; by default the case's own stream: the same call gives the same voxels.

    Returns
    -------
    numpy.ndarray
        int16 Hounsfield units [z, y, x], -1024 to 3071.
    """
    return sample(thorax(case), grid, noise_hu, case.stream("noise") if rng is None else rng)


def finding_masks(case: Case, grid: Grid) -> dict[str, BoolArray]:
    """Where each of the case's findings shows on the grid: boolean [z, y, x] by name.

    Cardiomegaly is the heart. A voxel belongs to at most one finding, the one that hides the others.
    """
    parts = slabs(thorax(case), grid, labelled=True)
    labels = np.concatenate([part.labels for part in parts if part.labels is not None])
    return {name: labels == findings.LABELS[name] for name in case.findings}
