"""Where a score comes from, in the geometry of the CT.

For the labelling members gradient times token at the quantised tokens (Simonyan et al., 2013; Shrikumar et
al., 2017), for the diffusion member the anomaly map. The tokens enter an image head by their mean over
planes, so one backward pass through projection and norm is all it takes; the encoder is not differentiated
(straight-through at the quantiser).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

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
    """

    values: NDArray[np.float32]
    centres: tuple[NDArray[np.float64], ...]
    to_source: NDArray[np.float64]
    shape: tuple[int, ...]

    @property
    def points(self) -> NDArray[np.float64]:
        """(a, b, c, 3): every place of the grid as (slice, row, column) of the CT volume."""
        places = np.stack(np.meshgrid(*self.centres, indexing="ij"), axis=-1)
        return places @ self.to_source[:AXES, :AXES].T + self.to_source[:AXES, AXES]

    def peak(self) -> Point | None:
        """The voxel of the CT in the middle of the place that raises the score most; None without one."""
        points = self.points
        inside = ((points > -0.5) & (points < np.array(self.shape) - 0.5)).all(axis=-1)
        values = np.where(inside, self.values, 0)
        if not values.max() > 0:
            return None
        place = np.rint(points[np.unravel_index(int(values.argmax()), values.shape)]).astype(int)
        slice_index, row, column = (int(index) for index in np.clip(place, 0, np.array(self.shape) - 1))
        return slice_index, row, column

    def plane(self, index: int) -> NDArray[np.float32]:
        """The map on one slice of the CT, float32 (rows, columns): linear between the places of the grid.

        Half a place beyond the outermost ones their values hold; further out nothing is known, and it is 0.
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
        plane = map_coordinates(self.values, coordinates, order=1, mode="nearest", output=np.float32)
        return np.where(known, plane, np.float32(0))

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
    centres = token_centres(tuple(tokens.shape[1:4]), prepared)
    return [SaliencyMap(item, centres, prepared.to_source, shape) for item in values]


def anomaly_saliency(anomaly: AnomalyMaps, prepared: EncoderInput, shape: tuple[int, ...]) -> SaliencyMap:
    """The anomaly map of the diffusion member: linear between the reconstructed planes."""
    _, rows, columns = anomaly.maps.shape
    _, *across = token_centres((1, rows, columns), prepared)
    planes = np.array(anomaly.planes, dtype=np.float64)
    return SaliencyMap(anomaly.maps, (planes, *across), prepared.to_source, shape)


def token_centres(grid: tuple[int, ...], prepared: EncoderInput) -> tuple[NDArray[np.float64], ...]:
    """Middles of the places of an even grid over the encoder input, along each of its axes, as indices."""
    return tuple(
        (np.arange(count, dtype=np.float64) + 0.5) * (size / count) - 0.5
        for count, size in zip(grid, prepared.tensor.shape, strict=True)
    )


def _ends(centres: NDArray[np.float64]) -> tuple[float, float]:
    """Where what the outermost places say ends: half the distance to their neighbours beyond them."""
    if len(centres) == 1:
        return -np.inf, np.inf
    return (
        float(centres[0] - (centres[1] - centres[0]) / 2),
        float(centres[-1] + (centres[-1] - centres[-2]) / 2),
    )
