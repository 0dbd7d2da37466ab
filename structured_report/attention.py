"""Where the algorithm looked for one located finding, as the objects about it take it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ImageKey = tuple[str, int | None]
"""SOP Instance UID and frame number (from 1; None in a single-frame instance)."""


@dataclass(frozen=True)
class Attention:
    """The saliency of one finding.

    Attributes
    ----------
    finding
        Its name.
    masks
        Boolean [row, column] on the source's own pixels: where the map reaches the bundle's voxel threshold.
        Only images on which it does.
    values
        float32 (a, b, c): the map in its own coarse grid, in log-odds for each place.
    affine
        4 x 4: indices (a, b, c) of the grid to the patient's LPS mm.
    """

    finding: str
    masks: Mapping[ImageKey, NDArray[np.bool_]]
    values: NDArray[np.float32]
    affine: NDArray[np.float64]
