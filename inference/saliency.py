"""Where a score comes from, in the geometry of the CT.

For the labelling members gradient times token at the quantised tokens (Simonyan et al., 2013; Shrikumar et
al., 2017), for the diffusion member the anomaly map. The tokens enter an image head by their mean over
planes, so one backward pass through projection and norm is all it takes; the encoder is not differentiated
(straight-through at the quantiser).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from torch import Tensor

from inference.encoder_input import EncoderInput
from inference.slice_member import AnomalyMaps

Point = tuple[int, int, int]
"""(slice, row, column) of the CT volume."""
AXES = 3
_JUST_WITHIN = 1 - 1e-6


@dataclass(frozen=True)
class SaliencyMap:
    """How much each place raises a score.

    Attributes
    ----------
    values
        float32 (a, b, c), in a grid of its own along the encoder input's axes (z, x, y); 0 where a place does
        not raise the score.
    centres
        Along each axis the places of the grid, as ascending indices of the encoder input.
    to_source
        4 x 4: indices of the encoder input to (slice, row, column) of the CT volume.
    shape
        (slices, rows, columns) of the CT volume.
    seen
        Boolean (a, b, c): the places that hold anything of the CT. The others hold padding alone, and what is
        said of them tells nothing about the image.
    """

    values: NDArray[np.float32]
    centres: tuple[NDArray[np.float64], ...]
    to_source: NDArray[np.float64]
    shape: tuple[int, ...]
    seen: NDArray[np.bool_]

    @property
    def points(self) -> NDArray[np.float64]:
        """(a, b, c, 3): every place of the grid as (slice, row, column) of the CT volume."""
        return _source_points(self.centres, self.to_source)

    def peak_place(self) -> Point | None:
        """The place of the grid that raises the score most and has its middle in the CT; None without one."""
        values = np.where(_within(self.points, self.shape) & self.seen, self.values, 0)
        if not values.max() > 0:
            return None
        first, second, third = np.unravel_index(int(values.argmax()), values.shape)
        return int(first), int(second), int(third)

    def peak(self) -> Point | None:
        """The voxel of the CT in the middle of `peak_place`; None without one."""
        place = self.peak_place()
        if place is None:
            return None
        voxel = np.clip(np.rint(self.points[place]).astype(int), 0, np.array(self.shape) - 1)
        slice_index, row, column = (int(index) for index in voxel)
        return slice_index, row, column

    def plane(self, index: int) -> NDArray[np.float32]:
        """The map on one slice of the CT, float32 (rows, columns): linear between the places of the grid.

        Half a place beyond the outermost ones their values hold; further out nothing is known, and it is 0.
        Places of padding take no part: next to them the values of the others hold.
        """
        _, rows, columns = self.shape
        back = np.linalg.inv(self.to_source)
        row, column = np.arange(rows)[:, None], np.arange(columns)
        coordinates = np.empty((AXES, rows, columns), dtype=np.float32)
        known = np.ones((rows, columns), dtype=bool)
        for axis, centres in enumerate(self.centres):
            places = back[axis, 0] * index + back[axis, 1] * row + back[axis, 2] * column + back[axis, AXES]
            first, last = _ends(centres)
            known &= (places >= first) & (places <= last)
            coordinates[axis] = np.interp(places, centres, np.arange(len(centres)))
        if not known.any():
            return np.zeros((rows, columns), dtype=np.float32)

        def between(values: NDArray[np.float32]) -> NDArray[np.float32]:
            plane: NDArray[np.float32] = map_coordinates(
                values, coordinates, order=1, mode="nearest", output=np.float32
            )
            return plane

        if self.seen.all():
            return np.where(known, between(self.values), np.float32(0))
        weights = between(self.seen.astype(np.float32))
        known = known & (weights > 0)
        sums = between(np.where(self.seen, self.values, np.float32(0)))
        return np.divide(sums, weights, out=np.zeros_like(sums), where=known)

    def volume(self) -> NDArray[np.float32]:
        """The map on every voxel of the CT, float32 (slices, rows, columns)."""
        return np.stack([self.plane(index) for index in range(self.shape[0])])


def saliency_maps(
    score: Callable[[Tensor], Tensor],
    tokens: Tensor,
    chosen: Sequence[int],
    prepared: EncoderInput,
    shape: tuple[int, ...],
) -> list[SaliencyMap]:
    """Gradient times token, one map for every chosen score.

    Parameters
    ----------
    score
        Quantised tokens (1, t, h, w, d) to logits (1, n); it must read them by their mean over t alone.
    tokens
        Quantised tokens of the study.
    chosen
        Which of the n scores.
    prepared
        The encoder input that they were made of.
    shape
        (slices, rows, columns) of the CT volume.
    """
    with torch.inference_mode(False), torch.enable_grad():
        # The gradient is the same in every plane of tokens: that of their mean, which is one plane.
        mean = tokens.clone().mean(dim=1, keepdim=True).requires_grad_()
        logits = score(mean)[0, list(chosen)]
        (slopes,) = torch.autograd.grad(
            logits, mean, torch.eye(len(logits), device=mean.device), is_grads_batched=True
        )
    planes = tokens.shape[1]
    maps = torch.einsum("nhwd,thwd->nthw", slopes[:, 0, 0], tokens[0]) / planes
    values = maps.detach().clamp(min=0).float().cpu().numpy()
    grid = tuple(tokens.shape[1:4])
    centres = token_centres(grid, prepared)
    halves = [size / count / 2 for count, size in zip(grid, prepared.tensor.shape, strict=True)]
    seen = _seen(centres, halves, prepared.to_source, shape)
    return [SaliencyMap(item, centres, prepared.to_source, shape, seen) for item in values]


def anomaly_saliency(anomaly: AnomalyMaps, prepared: EncoderInput, shape: tuple[int, ...]) -> SaliencyMap:
    """The anomaly map of the diffusion member: linear between the reconstructed planes."""
    _, rows, columns = anomaly.maps.shape
    _, *across = token_centres((1, rows, columns), prepared)
    centres = (np.array(anomaly.planes, dtype=np.float64), *across)
    _, *size = prepared.tensor.shape
    halves = [0.5, size[0] / rows / 2, size[1] / columns / 2]
    seen = _seen(centres, halves, prepared.to_source, shape)
    return SaliencyMap(anomaly.maps, centres, prepared.to_source, shape, seen)


def token_centres(grid: tuple[int, ...], prepared: EncoderInput) -> tuple[NDArray[np.float64], ...]:
    """Middles of the places of an even grid over the encoder input, along each of its axes, as indices."""
    return tuple(
        (np.arange(count, dtype=np.float64) + 0.5) * (size / count) - 0.5
        for count, size in zip(grid, prepared.tensor.shape, strict=True)
    )


def _source_points(
    centres: Sequence[NDArray[np.float64]], to_source: NDArray[np.float64]
) -> NDArray[np.float64]:
    places = np.stack(np.meshgrid(*centres, indexing="ij"), axis=-1)
    points: NDArray[np.float64] = places @ to_source[:AXES, :AXES].T + to_source[:AXES, AXES]
    return points


def _within(points: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Which points (..., 3) lie in a voxel of the CT."""
    inside = (points > -0.5) & (points < np.array(shape) - 0.5)
    return np.asarray(inside.all(axis=-1))


def _seen(
    centres: tuple[NDArray[np.float64], ...],
    halves: Sequence[float],
    to_source: NDArray[np.float64],
    shape: tuple[int, ...],
) -> NDArray[np.bool_]:
    """Places whose middle, or a corner, or the middle of an edge or a face just within, lies in the CT."""
    seen = np.zeros([len(axis) for axis in centres], dtype=bool)
    for step in product((-_JUST_WITHIN, 0.0, _JUST_WITHIN), repeat=AXES):
        moved = [axis + part * half for axis, part, half in zip(centres, step, halves, strict=True)]
        seen |= _within(_source_points(moved, to_source), shape)
    return seen


def _ends(centres: NDArray[np.float64]) -> tuple[float, float]:
    """Where what the outermost places say ends: half the distance to their neighbours beyond them."""
    if len(centres) == 1:
        return -np.inf, np.inf
    return (
        float(centres[0] - (centres[1] - centres[0]) / 2),
        float(centres[-1] + (centres[-1] - centres[-2]) / 2),
    )
