"""Binary dilation and erosion of volumes by the six neighbours of a voxel.

The same as scipy's with its default structure, and several times as fast: whole arrays are shifted.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


def dilated(mask: Mask, steps: int = 1) -> Mask:
    """The voxels within `steps` of the mask."""
    for _ in range(steps):
        grown = mask.copy()
        for later, earlier in _neighbours(mask.ndim):
            grown[later] |= mask[earlier]
            grown[earlier] |= mask[later]
        mask = grown
    return mask


def eroded(mask: Mask, steps: int = 1, *, beyond: bool = False) -> Mask:
    """The voxels farther than `steps` from what is outside; `beyond` says what lies beyond the array."""
    for _ in range(steps):
        shrunk = mask.copy()
        for axis, (later, earlier) in enumerate(_neighbours(mask.ndim)):
            shrunk[later] &= mask[earlier]
            shrunk[earlier] &= mask[later]
            if not beyond:
                ends = np.moveaxis(shrunk, axis, 0)
                ends[0] = ends[-1] = False
        mask = shrunk
    return mask


def opened(mask: Mask, steps: int = 1) -> Mask:
    """Without what is thinner than twice `steps`."""
    return dilated(eroded(mask, steps), steps)


def closed(mask: Mask, steps: int = 1) -> Mask:
    """With gaps filled that are narrower than twice `steps`."""
    return eroded(dilated(mask, steps), steps, beyond=True)


def _neighbours(axes: int) -> list[tuple[tuple[slice, ...], tuple[slice, ...]]]:
    """For each axis the places of all voxels but the first and of all but the last."""
    whole = (slice(None),) * axes
    return [
        (
            (*whole[:axis], slice(1, None), *whole[axis + 1 :]),
            (*whole[:axis], slice(None, -1), *whole[axis + 1 :]),
        )
        for axis in range(axes)
    ]
