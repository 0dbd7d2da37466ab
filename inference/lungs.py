"""Where the lungs are: threshold and components on a coarse grid; a scan without lungs is refused.

This is the classical first step of lung segmentation (Hu et al., IEEE TMI 20, 2001), meant to tell a chest
from anything else, to give sides and to anchor slices, not to measure. The rules are about anatomy alone:
inside a body lies a large amount of tissue as dense as aerated lung, with vessels in it, over the height of a
lung.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import ndimage

from inference.errors import RefusalCode, VolumeRefusal
from inference.volume import CTVolume

GRID_MM = 2.5
GRID_SHARE = 1 / 110
"""Of the field of view, from which on the grid is finer: the chest wall of a child is thin."""

AIR_BELOW_HU = -400  # air and aerated lung
TISSUE_ABOVE_HU = -250
PADDING_BELOW_HU = -1500  # outside the reconstructed circle
LUNG_MEAN_HU = (-972.0, -500.0)
"""Mean density of aerated lung, from severe emphysema to widespread opacity; bowel gas lies below."""

MINIMUM_TEXTURE_HU = 25.0
"""Standard deviation on the coarse grid: vessels and airways give 45 or more, a foam insert only noise."""

MINIMUM_VOLUME_ML = 500.0
MINIMUM_HEIGHT_MM = 60.0
MINIMUM_VOLUME_SHARE = 0.03  # of the body's width cubed
MINIMUM_HEIGHT_SHARE = 0.25  # of the body's width
"""What there must be of lung: the least of an adult, or for a small body as much as its width asks for; a
newborn's lungs, about 80 ml in a chest of 115 mm, are twice that."""

UNCUT = 0.5
"""How much less suffices where the lungs end below the topmost slice: consolidated lungs, not the lung bases
that every scan of an abdomen begins with."""

COMPONENT_SHARE = 0.12  # of the least volume: a piece of lung that counts

CUT_OFF_SHARE = {"head": 0.3, "feet": 0.5}
"""Area of the lungs in the outermost plane, as a share of their largest, from which an end is missing."""

Side = Literal["left", "right"]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Lungs:
    """The lungs on a coarse grid whose voxel [i, j, k] covers `factors` * (1, 1, 1) voxels of the CT.

    Attributes
    ----------
    left, right
        Boolean [slice, row, column] on the coarse grid; sides are the patient's.
    factors
        CT voxels to a coarse voxel along slice, row and column.
    volume_ml
        Aerated volume of left and right together, by counting coarse voxels.
    mean_hu
        Mean density without the border.
    """

    left: Mask
    right: Mask
    factors: tuple[int, int, int]
    volume_ml: float
    mean_hu: float

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
            else float(np.linalg.norm((np.argwhere(mask) - point) * self.factors, axis=1).min())
            for mask in (self.left, self.right)
        ]
        return "left" if distances[0] <= distances[1] else "right"

    @property
    def cut_off(self) -> tuple[str, ...]:
        """The ends ("head", "feet") at which the series stops within the lungs."""
        areas = (self.left | self.right).sum(axis=(1, 2))
        outermost = {"head": areas[-1], "feet": areas[0]}
        return tuple(end for end, area in outermost.items() if area > CUT_OFF_SHARE[end] * areas.max())

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
    factors = _factors(volume)
    coarse = _coarse(volume, factors)
    spacing = np.array(volume.spacing_mm) * factors
    voxel_ml = float(np.prod(spacing)) / 1000
    inside = _inside_body(coarse)
    width_mm = _width(inside) * spacing[2]
    least_ml = min(MINIMUM_VOLUME_ML, MINIMUM_VOLUME_SHARE * width_mm**3 / 1000)
    air = inside & (coarse < AIR_BELOW_HU)
    core = _lung_cores(coarse, air, COMPONENT_SHARE * least_ml / voxel_ml)
    if not core.any():
        raise _refusal(0.0, 0.0)
    lungs = air & ndimage.binary_dilation(core, iterations=2)
    volume_ml = float(lungs.sum()) * voxel_ml
    height_mm = float(lungs.any(axis=(1, 2)).sum()) * spacing[0]
    mean_hu, texture_hu = float(coarse[core].mean()), float(coarse[core].std())
    if not lungs[-1].any():
        least_ml *= UNCUT
    aerated = LUNG_MEAN_HU[0] <= mean_hu <= LUNG_MEAN_HU[1] and texture_hu >= MINIMUM_TEXTURE_HU
    least_mm = min(MINIMUM_HEIGHT_MM, MINIMUM_HEIGHT_SHARE * width_mm)
    if volume_ml < least_ml or height_mm < least_mm or not aerated:
        raise _refusal(volume_ml if aerated else 0.0, height_mm)
    towards_left = _x_mm(volume, lungs.shape, factors) > _midline_mm(volume, coarse, lungs, factors)
    return Lungs(lungs & towards_left, lungs & ~towards_left, factors, volume_ml, mean_hu)


def _refusal(volume_ml: float, height_mm: float) -> VolumeRefusal:
    found = "nothing that is built like a lung"
    if volume_ml >= 1:
        found = f"only {volume_ml:.0f} ml of aerated lung over {height_mm:.0f} mm"
    return VolumeRefusal(
        RefusalCode.NO_LUNGS,
        f"The series shows {found}: it is not a CT of the chest, or one with hardly any air in the lungs.",
    )


def _factors(volume: CTVolume) -> tuple[int, int, int]:
    """CT voxels to a coarse voxel along slice, row and column."""
    shape, spacing = volume.voxels_hu.shape, volume.spacing_mm
    grid_mm = min(GRID_MM, GRID_SHARE * max(shape[1] * spacing[1], shape[2] * spacing[2]))
    along, down, across = (
        min(max(1, round(grid_mm / step)), count) for step, count in zip(spacing, shape, strict=True)
    )
    return along, down, across


def _coarse(volume: CTVolume, factors: tuple[int, ...]) -> NDArray[np.float32]:
    """Every n-th slice, averaged in the plane: HU on the coarse grid."""
    planes = torch.from_numpy(np.ascontiguousarray(volume.voxels_hu[:: factors[0]])).float()
    averaged: NDArray[np.float32] = F.avg_pool2d(planes[:, None], factors[1:])[:, 0].numpy()
    return averaged


def _inside_body(coarse: NDArray[np.float32]) -> Mask:
    """What has body on both sides in either direction of the plane.

    A chest may be cut off at its flanks by the field of view, so that the end of the picture counts as body
    there. Table tops are thin and vanish in the opening; the largest piece that remains is the body.
    """
    tissue = ndimage.binary_opening(coarse > TISSUE_ABOVE_HU, iterations=2)
    labels, count = ndimage.label(tissue)
    if not count:
        return np.zeros(coarse.shape, dtype=bool)
    body: Mask = labels == int(np.bincount(labels.ravel())[1:].argmax()) + 1
    wall = body | (coarse < PADDING_BELOW_HU)
    wall[:, :, [0, -1]] = True
    inside: Mask = _between(wall, 2) & _between(body, 1)
    return inside


def _width(inside: Mask) -> float:
    """Columns that the body takes in the middle one of its slices."""
    columns = inside.any(axis=1).sum(axis=1)
    return float(np.median(columns[columns > 0])) if columns.any() else 0.0


def _between(wall: Mask, axis: int) -> Mask:
    before = np.logical_or.accumulate(wall, axis=axis)
    after = np.flip(np.logical_or.accumulate(np.flip(wall, axis), axis=axis), axis)
    inside: Mask = before & after
    return inside


def _lung_cores(coarse: NDArray[np.float32], air: Mask, voxels: float) -> Mask:
    """Pieces of air without their border that are of so many voxels and as dense as lung."""
    core: Mask = ndimage.binary_erosion(air)
    labels, count = ndimage.label(core)
    if not count:
        return core
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    means = np.bincount(labels.ravel(), weights=coarse.ravel(), minlength=count + 1) / np.maximum(sizes, 1)
    kept = (sizes >= voxels) & (means >= LUNG_MEAN_HU[0]) & (means <= LUNG_MEAN_HU[1])
    kept[0] = False
    chosen: Mask = kept[labels]
    return chosen


def _x_mm(volume: CTVolume, shape: tuple[int, ...], factors: tuple[int, ...]) -> NDArray[np.float64]:
    """Position of every coarse voxel towards the patient's left (LPS x, mm), [slice, row, column]."""
    slices, rows, columns = (
        (np.arange(n) + 0.5) * factor - 0.5 for n, factor in zip(shape, factors, strict=True)
    )
    x = volume.affine[0]
    towards_left: NDArray[np.float64] = (
        slices[:, None, None] * x[2] + rows[:, None] * x[1] + columns * x[0] + x[3]
    )
    return towards_left


def _midline_mm(
    volume: CTVolume, coarse: NDArray[np.float32], lungs: Mask, factors: tuple[int, ...]
) -> float:
    """LPS x of the body's middle over the height of the lungs."""
    levels: Mask = np.asarray(lungs.any(axis=(1, 2)))
    body = (coarse > TISSUE_ABOVE_HU) & levels[:, np.newaxis, np.newaxis]
    return float(np.median(_x_mm(volume, coarse.shape, factors)[body]))
