"""Sampling grids: where in patient coordinates the voxels of a volume lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Grid:
    """An axis-aligned grid in DICOM patient coordinates (LPS: x to the left, y to the back, z to the head).

    Attributes
    ----------
    origin_mm
        (x, y, z) of the centre of voxel [0, 0, 0].
    spacing_mm
        (z, y, x) distances of neighbouring voxel centres; all positive, so z ascends with the slice index.
    shape
        (z, y, x) numbers of voxels: slices, rows, columns.
    """

    origin_mm: tuple[float, float, float]
    spacing_mm: tuple[float, float, float]
    shape: tuple[int, int, int]

    @property
    def x_mm(self) -> FloatArray:
        """Positions of the columns."""
        return self._positions(2)

    @property
    def y_mm(self) -> FloatArray:
        """Positions of the rows."""
        return self._positions(1)

    @property
    def z_mm(self) -> FloatArray:
        """Positions of the slices."""
        return self._positions(0)

    def slices(self, start: int, stop: int) -> Grid:
        """The same grid cut to the slices start to stop (stop excluded)."""
        x, y, z = self.origin_mm
        return Grid((x, y, z + start * self.spacing_mm[0]), self.spacing_mm, (stop - start, *self.shape[1:]))

    def _positions(self, axis: int) -> FloatArray:
        steps = np.arange(self.shape[axis], dtype=np.float64)
        return (self.origin_mm[2 - axis] + steps * self.spacing_mm[axis]).astype(np.float32)


def centred_grid(spacing_mm: tuple[float, float, float], shape: tuple[int, int, int]) -> Grid:
    """A grid whose middle is the origin of the world."""
    z, y, x = (-(n - 1) / 2 * step for n, step in zip(shape, spacing_mm, strict=True))
    return Grid((x, y, z), spacing_mm, shape)


@dataclass(frozen=True)
class PreparedGrid:
    """Where an encoder's input takes its voxels from an acquisition.

    `grid` is the part that lies inside the acquisition; `offset` is the (z, y, x) index of its first voxel in
    the input, whose whole size is `shape`. The rest of the input is padding.
    """

    grid: Grid
    offset: tuple[int, int, int]
    shape: tuple[int, int, int]


def prepared_grid(
    acquisition: Grid, spacing_mm: tuple[float, float, float], shape: tuple[int, int, int]
) -> PreparedGrid:
    """Where resampling reads an acquisition (trilinear, corners not aligned, then centre crop or pad).

    The resampled size is cut to an integer in float32 and the step then adapts to it, as
    `torch.nn.functional.interpolate(size=...)` does, so a voxel's position can differ by some tenths of a
    millimetre from a multiple of `spacing_mm`. All tuples are (z, y, x).
    """
    origin, step, size, offset = [], [], [], []
    for axis in range(3):
        old, old_step = acquisition.shape[axis], acquisition.spacing_mm[axis]
        ratio = np.float32(old_step) / np.float32(spacing_mm[axis])
        new = int(np.float32(old) * ratio)
        new_step = old * old_step / new
        first = acquisition.origin_mm[2 - axis] + (new_step - old_step) / 2
        cut = max(0, (new - shape[axis]) // 2)
        origin.append(first + cut * new_step)
        step.append(new_step)
        size.append(min(new, shape[axis]))
        offset.append(max(0, (shape[axis] - new) // 2))
    grid = Grid((origin[2], origin[1], origin[0]), (step[0], step[1], step[2]), (size[0], size[1], size[2]))
    return PreparedGrid(grid, (offset[0], offset[1], offset[2]), shape)
