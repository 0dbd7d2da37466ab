"""What tells lung from other things of its density: vessels in it and, where it is dense, ribs around it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from inference.coarse_grid import CoarseGrid
from inference.morphology import Mask, dilated, eroded

LUNG_MEAN_HU = (-972.0, -500.0)
"""Mean density of aerated lung, from severe emphysema to widespread opacity; bowel gas lies below."""

MINIMUM_TEXTURE_HU = 18.0
"""Standard deviation of means over 3 x 3 x 3 voxels of the coarse grid.

Vessels, airways and gravity give 33 to 43 in three public chest CTs and 23 or more in synthetic ones. A foam
insert has only what the averaging leaves of the noise: 13 HU of 150 HU in pixels of 1 mm.
"""

DENSE_HU = -750.0
"""Mean density from which on a lung must lie among ribs: a colon full of stool and gas is as dense."""

MINIMUM_BONE_SHARE = 0.05
"""Bone in the shell around the lungs; 0.17 to 0.22 in the same CTs, below 0.01 around such a colon."""

_BONE_ABOVE_HU = 130
_SHELL_MM = (2.0, 14.0)
_LEAST_VOXELS = 500  # of a core, from which on its inner part is looked at


def is_built_like_lung(grid: CoarseGrid, core: Mask, aerated: Mask) -> bool:
    """Whether pieces of air may be the lungs.

    Parameters
    ----------
    grid
        The CT.
    core
        The pieces without their border, [slice, row, column] of the grid.
    aerated
        The pieces themselves.
    """
    mean_hu = float(grid.hu[core].mean())
    if not LUNG_MEAN_HU[0] <= mean_hu <= LUNG_MEAN_HU[1] or texture_hu(grid.hu, core) < MINIMUM_TEXTURE_HU:
        return False
    return mean_hu <= DENSE_HU or bone_share(grid, aerated) >= MINIMUM_BONE_SHARE


def texture_hu(hu: NDArray[np.float32], core: Mask) -> float:
    """How uneven a piece is beyond its noise, which is averaged away."""
    box = ndimage.find_objects(core.view(np.uint8))[0]
    inner = eroded(core[box])
    if inner.sum() < _LEAST_VOXELS:
        inner = core[box]
    return float(ndimage.uniform_filter(hu[box], 3)[inner].std())


def bone_share(grid: CoarseGrid, aerated: Mask) -> float:
    """Share of bone in a shell around the pieces, in the plane of the slices."""
    near, far = (max(1, round(mm / max(grid.spacing_mm[1:]))) for mm in _SHELL_MM)
    bones = shell = 0
    for hu, plane in zip(grid.hu, aerated, strict=True):
        if plane.any():
            around = dilated(plane, far) & ~dilated(plane, near)
            shell += int(around.sum())
            # Noise is averaged away, or that of a thin slice would count as bone.
            bones += int((ndimage.uniform_filter(hu, 3)[around] > _BONE_ABOVE_HU).sum())
    return bones / max(shell, 1)
