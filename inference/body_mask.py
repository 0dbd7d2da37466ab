"""What lies inside the body on a coarse grid, and how wide the body is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from inference.morphology import Mask, opened

TISSUE_ABOVE_HU = -250
PADDING_BELOW_HU = -1500  # outside the reconstructed circle


def inside_body(coarse: NDArray[np.float32]) -> Mask:
    """What has body on both sides in either direction of the plane.

    A chest may be cut off at its flanks by the field of view, so that the end of the picture counts as body
    there. Table tops are thin and vanish in the opening; the largest piece that remains is the body.
    """
    tissue = opened(coarse > TISSUE_ABOVE_HU, 2)
    labels, count = ndimage.label(tissue)
    if not count:
        return np.zeros(coarse.shape, dtype=bool)
    body: Mask = labels == int(np.bincount(labels.ravel())[1:].argmax()) + 1
    wall = body | (coarse < PADDING_BELOW_HU)
    wall[:, :, [0, -1]] = True
    inside: Mask = _between(wall, 2) & _between(body, 1)
    return inside


def width(inside: Mask) -> float:
    """Columns that the body takes in the middle one of its slices."""
    columns = inside.any(axis=1).sum(axis=1)
    return float(np.median(columns[columns > 0])) if columns.any() else 0.0


def _between(wall: Mask, axis: int) -> Mask:
    before = np.logical_or.accumulate(wall, axis=axis)
    after = np.flip(np.logical_or.accumulate(np.flip(wall, axis), axis=axis), axis)
    inside: Mask = before & after
    return inside
