"""Pulmonary vessels: a tree grown from each hilum to points scattered through the lung."""

from __future__ import annotations

import numpy as np

from phantom.canvas import Point
from phantom.capsules import Capsules
from phantom.grid import FloatArray
from phantom.habitus import Habitus, Lung

_TWIG_MM = 0.85
# A parent's radius to this power is the sum of its children's: 3 in Murray 1926, a little less in lungs.
_MURRAY = 2.6
_WINDING = 0.45  # how much a detour through the tree costs against a long new twig


def hilum(lung: Lung, habitus: Habitus) -> Point:
    """Where vessels and the main bronchus enter the lung."""
    return lung.side * 36.0 * habitus.scale, 4.0, 8.0 + 6.0 * lung.side


def scatter(rng: np.random.Generator, habitus: Habitus, lung: Lung, number: int, level: float) -> FloatArray:
    """Random points (number, 3) of one lung, uniform inside the fraction `level` of its cross-section."""
    found = [np.empty((0, 3), dtype=np.float32)]
    while sum(len(points) for points in found) < number:
        x = lung.side * rng.uniform(8, lung.width, 4 * number).astype(np.float32)
        y = rng.uniform(-lung.depth, lung.depth, 4 * number).astype(np.float32)
        z = rng.uniform(-140, lung.apex, 4 * number).astype(np.float32)
        inside = (
            (lung.level(x, y, z) < level)
            & (habitus.cage_level(x, y, z) < level)
            & (z > lung.diaphragm(x, y) + 6)
            & (habitus.heart.level(x, y, z) > 1.2)
            & (x**2 + (y - habitus.cage_depth * 0.6) ** 2 > 34**2)
            & ((x / 30) ** 2 + (y / 60) ** 2 > 1)
        )
        found.append(np.stack([x, y, z], axis=1)[inside])
    return np.concatenate(found)[:number]


def grow_vessels(rng: np.random.Generator, habitus: Habitus, lung: Lung) -> Capsules:
    """The vessels of one lung, thick at the hilum and down to twigs of 0.85 mm radius near the pleura."""
    number = int(rng.integers(240, 340))
    targets = scatter(rng, habitus, lung, number, 0.86)
    root = np.asarray(hilum(lung, habitus), dtype=np.float32)
    targets = targets[np.argsort(np.linalg.norm(targets - root, axis=1))]

    nodes = np.concatenate([root[None], targets])
    parent = np.zeros(number + 1, dtype=np.intp)
    path = np.zeros(number + 1, dtype=np.float32)
    for i in range(1, number + 1):
        gap = np.linalg.norm(nodes[:i] - nodes[i], axis=1)
        parent[i] = np.argmin(gap + _WINDING * path[:i])
        path[i] = path[parent[i]] + gap[parent[i]]

    twigs = np.zeros(number + 1)
    for i in range(number, 0, -1):
        twigs[i] = max(twigs[i], 1)
        twigs[parent[i]] += twigs[i]
    radius = _TWIG_MM * twigs[1:] ** (1 / _MURRAY)
    return Capsules(nodes[parent[1:]], nodes[1:], np.minimum(radius, 6.5).astype(np.float32))
