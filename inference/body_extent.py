"""Where the patient is in a CT, on the coarse grid on which the lungs are looked for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from inference.morphology import Mask

BODY_EDGE = 0.5
"""Where on `BodyExtent.plane` the body ends."""


@dataclass(frozen=True)
class BodyExtent:
    """The patient's body, without the table.

    Its edge within a slice is smooth over about a coarse voxel, so that it is no staircase.

    Attributes
    ----------
    inside
        Boolean [slice, row, column], whose voxel covers `factors` * (1, 1, 1) voxels of the CT; what is left
        over at the far borders belongs to the last one.
    factors
        CT voxels to a coarse voxel along slice, row and column.
    shape
        (slices, rows, columns) of the CT.
    """

    inside: Mask
    factors: tuple[int, int, int]
    shape: tuple[int, ...]

    def holds(self, points: NDArray[np.float64]) -> Mask:
        """Which points (..., 3), (slice, row, column) of the CT, lie in the body; none outside of the CT."""
        places = (points.reshape(-1, 3) + 0.5).T / np.array(self.factors)[:, None] - 0.5
        places[0] = np.rint(np.clip(places[0], 0, len(self.inside) - 1))  # the slice that holds it
        share = ndimage.map_coordinates(self._smooth, places, output=np.float32, order=1, mode="nearest")
        known = ((points > -0.5) & (points < np.array(self.shape) - 0.5)).all(axis=-1)
        return np.asarray((share >= BODY_EDGE).reshape(points.shape[:-1]) & known)

    def plane(self, index: int) -> NDArray[np.float32]:
        """How much of each pixel of a slice counts as body, float32 (rows, columns), 0 to 1."""
        smooth = self._smooth[min(index // self.factors[0], len(self.inside) - 1)]
        _, down, across = self.factors
        _, rows, columns = self.shape
        return _stretched(_stretched(smooth, rows, down).T, columns, across).T

    @cached_property
    def _smooth(self) -> NDArray[np.float32]:
        """`inside` smoothed within each slice, float32."""
        inside = self.inside.astype(np.float32)
        smooth: NDArray[np.float32] = ndimage.gaussian_filter(inside, (0, 1, 1), mode="nearest")
        return smooth


def _stretched(values: NDArray[np.float32], count: int, factor: int) -> NDArray[np.float32]:
    """`count` lines that lie between those of (n, ...), each of which covers `factor` of them; linear."""
    last = len(values) - 1
    places = np.clip((np.arange(count, dtype=np.float32) + 0.5) / factor - 0.5, 0, last)
    lower = places.astype(np.intp)
    weights = (places - lower)[:, None].astype(np.float32)
    lines: NDArray[np.float32] = values[lower] * (1 - weights) + values[np.minimum(lower + 1, last)] * weights
    return lines
