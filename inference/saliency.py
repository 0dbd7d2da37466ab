"""Where a score comes from, in the geometry of the CT.

For the labelling members gradient times token at the quantised tokens (Simonyan et al., 2013; Shrikumar et
al., 2017), for the diffusion member the anomaly map. The tokens enter an image head by their mean over
planes, so one backward pass through projection and norm is all it takes; the encoder is not differentiated
(straight-through at the quantiser).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, map_coordinates
from torch import Tensor

from inference.body_extent import BODY_EDGE, BodyExtent
from inference.encoder_input import EncoderInput
from inference.slice_member import AnomalyMaps

Point = tuple[int, int, int]
"""(slice, row, column) of the CT volume."""
AXES = 3
HOLDS_BODY = 0.05
"""Share of a place that lies in the body, from which on it says something of the patient."""

_JUST_WITHIN = 1 - 1e-6
_PARTS = 4  # of a place along each axis, at whose middles its share of body is counted


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
        Boolean (a, b, c): the places that hold anything of the CT, or of the body where that is known. The
        others hold padding or air alone, which are one number to the networks (HU are held within [-1000,
        1000]), and what is said of them tells nothing about the patient.
    body
        Where the body is in the CT; None where that is not known.
    """

    values: NDArray[np.float32]
    centres: tuple[NDArray[np.float64], ...]
    to_source: NDArray[np.float64]
    shape: tuple[int, ...]
    seen: NDArray[np.bool_]
    body: BodyExtent | None = None

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
        """The voxel of the CT in the middle of `peak_place`; None without one.

        Where that lies outside of the body, as it may at the skin, the voxel of the place at which the map is
        greatest on the slice that has body nearest to the middle.
        """
        place = self.peak_place()
        if place is None:
            return None
        middle = self.points[place]
        if self.body is None or self.body.holds(middle):
            return self._voxel(middle)
        parts = [_parts(axis[at : at + 1], _half(axis)) for axis, at in zip(self.centres, place, strict=True)]
        points = _source_points(parts, self.to_source).reshape(-1, AXES)
        held = [self._voxel(point) for point in points[self.body.holds(points)]]
        if not held:
            return self._voxel(middle)
        index, _, _ = min(held, key=lambda voxel: float(np.linalg.norm(voxel - middle)))
        plane = self.plane(index)
        return max((voxel for voxel in held if voxel[0] == index), key=lambda voxel: float(plane[voxel[1:]]))

    def _voxel(self, point: NDArray[np.float64]) -> Point:
        """The voxel of the CT nearest to a point."""
        voxel = np.clip(np.rint(point).astype(int), 0, np.array(self.shape) - 1)
        slice_index, row, column = (int(index) for index in voxel)
        return slice_index, row, column

    def plane(self, index: int) -> NDArray[np.float32]:
        """The map on one slice of the CT, float32 (rows, columns): linear between the places of the grid.

        Half a place beyond the outermost ones their values hold; further out nothing is known, and it is 0.
        Places that are not seen take no part: there the values of the nearest ones hold. Outside of the body
        it is 0, where that is known.
        """
        plane = self._linear(index)
        if self.body is not None:
            plane[self.body.plane(index) < BODY_EDGE] = 0
        return plane

    def reach(self, index: int, threshold: float) -> NDArray[np.float32]:
        """1 and more on a slice where `plane` is at least a threshold, less elsewhere, without steps.

        A contour of it at 1 is smooth at the edge of the body, too.
        """
        reach = self._linear(index) / np.float32(threshold)
        if self.body is None:
            return reach
        within = self.body.plane(index) / np.float32(BODY_EDGE)
        return np.asarray(np.minimum(reach, within))

    def _linear(self, index: int) -> NDArray[np.float32]:
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
        plane: NDArray[np.float32] = map_coordinates(
            self._of_the_seen, coordinates, order=1, mode="nearest", output=np.float32
        )
        plane[~known] = 0
        return plane

    @cached_property
    def _of_the_seen(self) -> NDArray[np.float32]:
        """The values, and at places that are not seen those of the nearest one that is; 0 without any."""
        if self.seen.all() or not self.seen.any():
            return np.where(self.seen, self.values, np.float32(0))
        steps = [axis[1] - axis[0] if len(axis) > 1 else 1.0 for axis in self.centres]
        nearest = distance_transform_edt(
            ~self.seen, sampling=steps, return_distances=False, return_indices=True
        )
        values: NDArray[np.float32] = self.values[tuple(nearest)]
        return values

    def volume(self) -> NDArray[np.float32]:
        """The map on every voxel of the CT, float32 (slices, rows, columns)."""
        return np.stack([self.plane(index) for index in range(self.shape[0])])


def saliency_maps(
    score: Callable[[Tensor], Tensor],
    tokens: Tensor,
    chosen: Sequence[int],
    prepared: EncoderInput,
    shape: tuple[int, ...],
    *,
    body: BodyExtent | None = None,
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
    body
        Where the body is in it, if that is known.
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
    if body is not None:
        seen &= _body_share(centres, halves, prepared.to_source, body) >= HOLDS_BODY
    return [SaliencyMap(item, centres, prepared.to_source, shape, seen, body) for item in values]


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


def _body_share(
    centres: tuple[NDArray[np.float64], ...],
    halves: Sequence[float],
    to_source: NDArray[np.float64],
    body: BodyExtent,
) -> NDArray[np.float64]:
    """(a, b, c): the share of each place that lies in the body, at `_PARTS` points along each axis."""
    parts = [_parts(axis, half) for axis, half in zip(centres, halves, strict=True)]
    held = body.holds(_source_points(parts, to_source))
    blocks = held.reshape([count for axis in centres for count in (len(axis), _PARTS)])
    share: NDArray[np.float64] = blocks.mean(axis=(1, 3, 5))
    return share


def _parts(centres: NDArray[np.float64], half: float) -> NDArray[np.float64]:
    """The middles of the `_PARTS` equal parts of each place along an axis, in order."""
    steps = ((np.arange(_PARTS) + 0.5) * 2 / _PARTS - 1) * half
    return np.asarray(centres[:, None] + steps).ravel()


def _half(centres: NDArray[np.float64]) -> float:
    """Half the length of a place along an axis of the map."""
    return float(centres[1] - centres[0]) / 2 if len(centres) > 1 else 0.5


def _ends(centres: NDArray[np.float64]) -> tuple[float, float]:
    """Where what the outermost places say ends: half the distance to their neighbours beyond them."""
    if len(centres) == 1:
        return -np.inf, np.inf
    return (
        float(centres[0] - (centres[1] - centres[0]) / 2),
        float(centres[-1] + (centres[-1] - centres[-2]) / 2),
    )
