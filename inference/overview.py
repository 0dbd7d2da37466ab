"""A coronal plane through the lungs, for orientation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.lungs import Lungs
from inference.volume import CTVolume


@dataclass(frozen=True)
class CoronalOverview:
    """One coronal plane as a person expects it.

    Attributes
    ----------
    hu
        int16 [slice, column]: slices from the head down, columns from the patient's right to the left.
    spacing_mm
        Distance of slices, of columns.
    """

    hu: NDArray[np.int16]
    spacing_mm: tuple[float, float]


def coronal_overview(volume: CTVolume, lungs: Lungs | None) -> CoronalOverview:
    """The plane through the middle of the lungs, or of the volume where they are not known."""
    both = None if lungs is None else lungs.left | lungs.right
    # The in-plane axis of the images that runs from side to side; the plane is cut across the other one.
    sideways = int(np.argmax(np.abs(volume.affine[0, :2])))  # 0: along a row, 1: along a column
    across = 1 if sideways == 0 else 2  # axis of the voxels that is cut
    middle = volume.voxels_hu.shape[across] // 2
    if lungs is not None and both is not None and both.any():
        filled = both.any(axis=tuple(axis for axis in range(both.ndim) if axis != across))
        places = np.flatnonzero(filled)
        middle = int((places[0] + places[-1] + 1) / 2 * lungs.factors[across])
        middle = min(middle, volume.voxels_hu.shape[across] - 1)
    plane = np.take(volume.voxels_hu, middle, axis=across)[::-1]
    if volume.affine[0, sideways] < 0:
        plane = plane[:, ::-1]
    spacing = volume.spacing_mm[2] if sideways == 0 else volume.spacing_mm[1]
    return CoronalOverview(np.rint(plane).astype(np.int16), (volume.spacing_mm[0], spacing))
