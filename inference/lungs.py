"""Where the lungs are: threshold and components on a coarse grid; a scan without lungs is refused.

This is the classical way of lung segmentation (Hu et al., IEEE TMI 20, 2001). It tells a chest from anything
else, gives sides, anchors slices, and says to `densitometry` where to measure. The rules that decide what is
a lung are about anatomy alone: inside a body lies a large amount of tissue as dense as aerated lung, with
vessels in it, over the height of a lung (`lung_signs` tells it from other things).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from inference.body_extent import BodyExtent
from inference.body_mask import TISSUE_ABOVE_HU, inside_body, width
from inference.coarse_grid import CoarseGrid, coarse_grid
from inference.errors import RefusalCode, VolumeRefusal
from inference.lung_fields import lung_fields
from inference.lung_signs import LUNG_MEAN_HU, is_built_like_lung
from inference.morphology import Mask, dilated, eroded
from inference.volume import CTVolume

AIR_BELOW_HU = -400  # air and aerated lung
MINIMUM_VOLUME_ML = 500.0
MINIMUM_HEIGHT_MM = 60.0
MINIMUM_VOLUME_SHARE = 0.03  # of the body's width cubed
MINIMUM_HEIGHT_SHARE = 0.25  # of the body's width
"""What there must be of lung: the least of an adult, or for a small body as much as its width asks for; a
newborn's lungs, about 80 ml in a chest of 115 mm, are twice that."""

UNCUT = 0.5
"""How much less suffices where the lungs end below the topmost slice: consolidated lungs, not the lung bases
that every scan of an abdomen begins with."""

OPEN_SHARE = 0.3
"""Of their largest area, from which on the topmost slice cuts the lungs: the trachea alone is less."""

SMALLEST_FIELD_MM = 20.0
"""In any direction: less shows no lungs, and lengths given in mm would be very many voxels of it."""

COMPONENT_SHARE = 0.12  # of the least volume: a piece of lung that counts

ONE_SIDED = 0.1  # of the lungs on a side: less is no lung
GAS_HEIGHT, GAS_MIDDLE = 0.5, 1 / 3
"""Of the other lung's height: what gas that stands for a lung reaches over, and how high its middle lies."""

Side = Literal["left", "right"]


@dataclass(frozen=True)
class Lungs:
    """The lungs on a coarse grid whose voxel [i, j, k] covers `factors` * (1, 1, 1) voxels of the CT.

    Attributes
    ----------
    left, right
        Boolean [slice, row, column] on the coarse grid, with their vessels, without trachea and main bronchi;
        sides are the patient's.
    factors
        CT voxels to a coarse voxel along slice, row and column.
    spacing_mm
        Distance of coarse slices, rows, columns.
    volume_ml
        Aerated volume of both by counting coarse voxels: what there is of lung, airways included. The volumes
        of `densitometry` are the measured ones.
    mean_hu
        Mean density of the aerated volume without its border and without gas that stands for a lung.
    body
        Where the whole body is; None where only the lungs are known.
    """

    left: Mask
    right: Mask
    factors: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    volume_ml: float
    mean_hu: float
    body: BodyExtent | None = None

    @property
    def areas_mm2(self) -> NDArray[np.float64]:
        """Area of both lungs in each coarse slice, from the feet to the head."""
        plane_mm2 = self.spacing_mm[1] * self.spacing_mm[2]
        areas: NDArray[np.float64] = (self.left | self.right).sum(axis=(1, 2)) * plane_mm2
        return areas

    def centre(self, slice_index: int) -> tuple[float, float]:
        """Centre (row, column) of the lungs in a slice of the CT; of the whole lungs where it has none."""
        lungs = self.left | self.right
        plane = lungs[min(slice_index // self.factors[0], len(lungs) - 1)]
        rows, columns = np.nonzero(plane if plane.any() else lungs.any(axis=0))
        return (
            float((rows.mean() + 0.5) * self.factors[1] - 0.5),
            float((columns.mean() + 0.5) * self.factors[2] - 0.5),
        )

    def side(self, slice_index: float, row: float, column: float) -> Side:
        """The side of the lung nearest to a point of the CT (voxel indices)."""
        point = (np.array([slice_index, row, column]) + 0.5) / self.factors - 0.5
        distances = [
            np.inf
            if not mask.any()
            else float(np.linalg.norm((np.argwhere(mask) - point) * self.spacing_mm, axis=1).min())
            for mask in (self.left, self.right)
        ]
        return "left" if distances[0] <= distances[1] else "right"

    @property
    def middle_slice(self) -> int:
        """The slice of the CT at half the height of the lungs."""
        planes = np.flatnonzero((self.left | self.right).any(axis=(1, 2)))
        return int((planes[0] + planes[-1] + 1) / 2 * self.factors[0])


def find_lungs(volume: CTVolume) -> Lungs:
    """The lungs of a volume.

    Raises
    ------
    VolumeRefusal
        `no_lungs`
    """
    if min(np.multiply(volume.voxels_hu.shape, volume.spacing_mm)) < SMALLEST_FIELD_MM:
        raise _refusal(0.0, 0.0)
    grid = coarse_grid(volume)
    inside = inside_body(grid.hu)
    width_mm = width(inside) * grid.spacing_mm[2]
    least_ml = min(MINIMUM_VOLUME_ML, MINIMUM_VOLUME_SHARE * width_mm**3 / 1000)
    air = inside & (grid.hu < AIR_BELOW_HU)
    pieces = eroded(air)
    least_voxels = COMPONENT_SHARE * least_ml / grid.voxel_ml
    core = _lung_cores(grid.hu, pieces, least_voxels)
    if not core.any():
        raise _refusal(0.0, 0.0)
    aerated = air & dilated(core, 2)
    volume_ml = float(aerated.sum()) * grid.voxel_ml
    height_mm = float(aerated.any(axis=(1, 2)).sum()) * grid.spacing_mm[0]
    areas = aerated.sum(axis=(1, 2))
    if areas[-1] < OPEN_SHARE * areas.max():
        least_ml *= UNCUT
    as_lung = is_built_like_lung(grid, core, aerated)
    least_mm = min(MINIMUM_HEIGHT_MM, MINIMUM_HEIGHT_SHARE * width_mm)
    if volume_ml < least_ml or height_mm < least_mm or not as_lung:
        raise _refusal(volume_ml if as_lung else 0.0, height_mm)
    midline_mm = _midline_mm(grid, aerated)
    gas = _gas_of_a_side(pieces & ~core, core, grid.left_mm > midline_mm, least_voxels)
    if gas.any():
        aerated |= air & dilated(gas, 2)
        volume_ml = float(aerated.sum()) * grid.voxel_ml
    left, right = lung_fields(grid, aerated, midline_mm)
    body = BodyExtent(inside, grid.factors, volume.voxels_hu.shape)
    mean_hu = float(grid.hu[core].mean())
    return Lungs(left, right, grid.factors, grid.spacing_mm, volume_ml, mean_hu, body)


def _refusal(volume_ml: float, height_mm: float) -> VolumeRefusal:
    found = "nothing that is built like a lung"
    if volume_ml >= 1:
        found = f"only {volume_ml:.0f} ml of aerated lung over {height_mm:.0f} mm"
    return VolumeRefusal(
        RefusalCode.NO_LUNGS,
        f"The series shows {found}: it is not a CT of the chest, or one with hardly any air in the lungs.",
    )


def _lung_cores(coarse: NDArray[np.float32], pieces: Mask, voxels: float) -> Mask:
    """Of pieces of air without their border, those of so many voxels that are as dense as lung."""
    labels, count = ndimage.label(pieces)
    labelled = labels[pieces]
    sizes = np.bincount(labelled, minlength=count + 1)
    means = np.bincount(labelled, weights=coarse[pieces], minlength=count + 1) / np.maximum(sizes, 1)
    kept = (sizes >= voxels) & (means >= LUNG_MEAN_HU[0]) & (means <= LUNG_MEAN_HU[1])
    kept[0] = False
    chosen: Mask = kept[labels]
    return chosen


def _gas_of_a_side(pieces: Mask, core: Mask, on_left: Mask, voxels: float) -> Mask:
    """Where one side shows no lung: its gas, of a giant bulla or a pneumothorax; elsewhere nothing.

    It reaches over half the other lung's height at least and lies not at its base, as a stomach would.
    """
    left_share = float(core[on_left].sum()) / float(core.sum())
    gas = np.zeros_like(core)
    if ONE_SIDED <= left_share <= 1 - ONE_SIDED:
        return gas
    empty = on_left if left_share < ONE_SIDED else ~on_left
    levels = np.flatnonzero(core.any(axis=(1, 2)))
    height = int(levels[-1] - levels[0]) + 1
    labels, count = ndimage.label(pieces & empty)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    for piece in np.flatnonzero(sizes >= voxels):
        planes = (labels == piece).sum(axis=(1, 2))
        tall = int((planes > 0).sum()) >= GAS_HEIGHT * height
        middle = float((planes * np.arange(len(planes))).sum() / planes.sum())
        if piece and tall and (middle - levels[0]) / height >= GAS_MIDDLE:
            gas |= labels == piece
    return gas


def _midline_mm(grid: CoarseGrid, lungs: Mask) -> float:
    """LPS x of the body's middle over the height of the lungs."""
    levels: Mask = np.asarray(lungs.any(axis=(1, 2)))
    body = (grid.hu > TISSUE_ABOVE_HU) & levels[:, np.newaxis, np.newaxis]
    return float(np.median(grid.left_mm[body]))
