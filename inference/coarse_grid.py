"""A CT on a grid of about 2 mm, coarse enough to look for the lungs in a fraction of a second."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.pixels import HounsfieldArray
from inference.volume import CTVolume

GRID_MM = 2.0
GRID_SHARE = 1 / 110
"""Of the field of view, from which on the grid is finer: the chest wall of a child is thin."""

_THREADS = 2
_BLOCK = 8  # slices averaged at a time: what they take fits a processor's cache


@dataclass(frozen=True)
class CoarseGrid:
    """Hounsfield units whose voxel [i, j, k] covers `factors` * (1, 1, 1) voxels of the CT.

    Attributes
    ----------
    hu
        float32 [slice, row, column]: every n-th slice of the CT, averaged in the plane.
    factors
        CT voxels to a coarse voxel along slice, row and column.
    spacing_mm
        Distance of slices, rows, columns.
    left_mm
        Position of every voxel towards the patient's left (LPS x), broadcast to [slice, row, column].
    """

    hu: NDArray[np.float32]
    factors: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    left_mm: NDArray[np.float32]

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel."""
        return float(np.prod(self.spacing_mm)) / 1000


def coarse_grid(volume: CTVolume) -> CoarseGrid:
    """The volume on a grid of `GRID_MM`, or of its own voxels where those are larger."""
    factors = _factors(volume)
    hu = _averaged(volume.voxels_hu[:: factors[0]], factors[1], factors[2])
    down, across, along = (
        (np.arange(count) + 0.5) * factor - 0.5 for count, factor in zip(hu.shape, factors, strict=True)
    )
    x = volume.affine[0]
    left_mm = down[:, None, None] * x[2] + across[:, None] * x[1] + along * x[0] + x[3]
    depth, row, column = (step * factor for step, factor in zip(volume.spacing_mm, factors, strict=True))
    return CoarseGrid(hu, factors, (depth, row, column), left_mm.astype(np.float32))


def _factors(volume: CTVolume) -> tuple[int, int, int]:
    shape, spacing = volume.voxels_hu.shape, volume.spacing_mm
    grid_mm = min(GRID_MM, GRID_SHARE * max(shape[1] * spacing[1], shape[2] * spacing[2]))
    along, down, across = (
        min(max(1, round(grid_mm / step)), count) for step, count in zip(spacing, shape, strict=True)
    )
    return along, down, across


def _averaged(planes: HounsfieldArray, down: int, across: int) -> NDArray[np.float32]:
    """Means over blocks of `down` rows and `across` columns; what is left over at the far borders is cut."""
    rows, columns = planes.shape[1] // down, planes.shape[2] // across
    means = np.empty((len(planes), rows, columns), np.float32)

    def fill(start: int) -> None:
        block = planes[start : start + _BLOCK, : rows * down, : columns * across]
        summed = _sum_of_steps(block.astype(np.float32), down, axis=1)
        means[start : start + _BLOCK] = _sum_of_steps(summed, across, axis=2)

    with ThreadPoolExecutor(_THREADS) as threads:
        for _ in threads.map(fill, range(0, len(planes), _BLOCK)):
            pass  # an exception of a thread is raised here
    means /= down * across
    return means


def _sum_of_steps(values: NDArray[np.float32], step: int, axis: int) -> NDArray[np.float32]:
    """Sums of `step` neighbours along an axis; strided additions, which beat a reshaped sum by far."""
    lines = np.moveaxis(values, axis, 0)
    total = lines[0::step].copy()
    for first in range(1, step):
        total += lines[first::step]
    return np.moveaxis(total, 0, axis)
