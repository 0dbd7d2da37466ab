"""Where a score comes from: gradient times token at the quantised tokens, in the grid of the tokens.

The tokens enter an image head by their mean over planes, so one backward pass through mean, projection and
norm is all it takes; the encoder is not differentiated (straight-through at the quantiser).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inference.encoder_input import EncoderInput

Point = tuple[int, int, int]
"""(slice, row, column) of the CT volume."""


@dataclass(frozen=True)
class SaliencyMap:
    """How much each token raises a score.

    Attributes
    ----------
    values
        float32 (t, h, w), the token grid; 0 where a token does not raise the score.
    points
        (t, h, w, 3): the token's middle as (slice, row, column) of the CT volume.
    shape
        (slices, rows, columns) of the CT volume.
    """

    values: NDArray[np.float32]
    points: NDArray[np.float64]
    shape: tuple[int, ...]

    def peak(self) -> Point | None:
        """The voxel of the CT in the middle of the token that raises the score most; None without one."""
        inside = ((self.points > -0.5) & (self.points < np.array(self.shape) - 0.5)).all(axis=-1)
        values = np.where(inside, self.values, 0)
        if not values.max() > 0:
            return None
        place = np.rint(self.points[np.unravel_index(int(values.argmax()), values.shape)]).astype(int)
        slice_index, row, column = (int(index) for index in np.clip(place, 0, np.array(self.shape) - 1))
        return slice_index, row, column


def saliency_maps(
    score: Callable[[Tensor], Tensor],
    tokens: Tensor,
    chosen: Sequence[int],
    prepared: EncoderInput,
    shape: tuple[int, ...],
) -> list[SaliencyMap]:
    """One map for every chosen score.

    Parameters
    ----------
    score
        Quantised tokens (1, t, h, w, d) to logits (1, n).
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
        leaf = tokens.clone().requires_grad_()
        logits = score(leaf)[0]
        maps = []
        for index in chosen:
            (slope,) = torch.autograd.grad(logits[index], leaf, retain_graph=True)
            maps.append((slope * leaf).sum(dim=-1)[0].detach().clamp(min=0).float().cpu().numpy())
    points = token_points(tuple(tokens.shape[1:4]), prepared)
    return [SaliencyMap(values, points, shape) for values in maps]


def token_points(grid: tuple[int, ...], prepared: EncoderInput) -> NDArray[np.float64]:
    """Middle of every token of a (t, h, w) grid as (slice, row, column) of the CT volume, (t, h, w, 3)."""
    axes = [
        (np.arange(count) + 0.5) * (size / count) - 0.5
        for count, size in zip(grid, prepared.tensor.shape, strict=True)
    ]
    return prepared.source_index(np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1))
