"""More nodules to learn from: painted into the lungs of rendered volumes, with their masks and labels.

A rendered case has at most four nodules in a thousand tokens. Painting some more costs nothing and gives the
encoder an order of magnitude more small lesions, at places and of shapes that differ in every epoch.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from phantom.cases import FINDINGS
from training.dataset import CELL, Batch, InputGrid

FloatArray = npt.NDArray[np.float64]

_NODULE = FINDINGS.index("Lung nodule")
# As the phantom's own nodules, 12 to 30 mm across and of 20 to 60 HU.
RADIUS_MM = (6.0, 15.0)
DENSITY = (0.02, 0.06)
_NOISE = 0.015
# The surroundings of a place for one, HU / 1000: aerated lung by their mean, and no border of skin and air.
_AERATED = (-0.93, -0.68)
_DENSEST = -0.4
_MOST = 8
_TRIES = 400


def painted(batch: Batch, target: InputGrid, share: float, rng: np.random.Generator) -> Batch:
    """The batch with one to eight further nodules in each of about `share` of its volumes."""
    volumes, masks, labels = batch.volumes.clone(), batch.masks.clone(), batch.labels.clone()
    for index in range(len(volumes)):
        if rng.random() >= share:
            continue
        for centre in _places(volumes[index, 0], int(rng.integers(1, _MOST + 1)), rng):
            _paint(volumes[index, 0], masks[index, _NODULE], centre, target, rng)
            labels[index, _NODULE] = 1
    return Batch(volumes, labels, masks)


def _places(volume: Tensor, count: int, rng: np.random.Generator) -> list[tuple[int, ...]]:
    """Up to `count` voxels whose surroundings are aerated lung."""
    margin = np.array([4, 10, 10])
    found: list[tuple[int, ...]] = []
    for centre in rng.integers(margin, np.array(volume.shape) - margin, size=(_TRIES, 3)):
        around = volume[tuple(slice(int(c) - 1, int(c) + 2) for c in centre)]
        aerated = _AERATED[0] < float(around.mean()) < _AERATED[1] and float(around.max()) < _DENSEST
        if len(found) < count and aerated:
            found.append(tuple(int(c) for c in centre))
    return found


def _paint(
    volume: Tensor, mask: Tensor, centre: tuple[int, ...], target: InputGrid, rng: np.random.Generator
) -> None:
    """One lobulated nodule: a ball, and smaller ones around it."""
    radius = rng.uniform(*RADIUS_MM)
    spacing = np.array(target.spacing_mm)
    low = np.maximum(np.array(centre) - np.ceil(1.2 * radius / spacing).astype(int), 0)
    high = np.minimum(np.array(centre) + np.ceil(1.2 * radius / spacing).astype(int) + 1, volume.shape)
    axes = [np.arange(a, b) for a, b in zip(low, high, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1) * spacing
    middle = (np.array(centre) + rng.uniform(-0.5, 0.5, 3)) * spacing
    inside = lobulated(points, middle[None], np.array([radius]), rng)[0]
    values = rng.uniform(*DENSITY) + _NOISE * rng.standard_normal(inside.shape)
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    volume[box] = torch.where(torch.from_numpy(inside), torch.from_numpy(values).float(), volume[box])
    cells = (np.argwhere(inside) + low) // np.array(CELL)
    mask[tuple(torch.from_numpy(axis) for axis in cells.T)] = 1


def lobulated(
    points: FloatArray, centres: FloatArray, radii: FloatArray, rng: np.random.Generator
) -> npt.NDArray[np.bool_]:
    """(n, z, x, y): which `points` (z, x, y, 3; mm) lie in each nodule, a ball with lobes."""
    inside = _balls(points, centres, 0.85 * radii)
    for _ in range(5):
        direction = rng.standard_normal(centres.shape)
        direction *= 0.55 * radii[:, None] / np.linalg.norm(direction, axis=1, keepdims=True)
        inside |= _balls(points, centres + direction, rng.uniform(0.42, 0.58, radii.shape) * radii)
    return inside


def _balls(points: FloatArray, centres: FloatArray, radii: FloatArray) -> npt.NDArray[np.bool_]:
    square = np.square(points[None] - centres[:, None, None, None]).sum(axis=-1)
    near: npt.NDArray[np.bool_] = square < np.square(radii)[:, None, None, None]
    return near
