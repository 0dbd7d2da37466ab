"""How the codebook of the image encoder learns: k-means start, moving averages, straight-through gradient.

The encoder itself (`models.ctvit`) only reads its codebook; all that moves it is here. Method: van den Oord
et al., "Neural Discrete Representation Learning" (2017), appendix A.1, on the unit sphere as in ViT-VQGAN (Yu
et al., 2021).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class QuantiserSettings:
    """`decay` of the moving averages; a code of fewer than `minimum_usage` tokens a batch is replaced."""

    decay: float = 0.97
    minimum_usage: float = 0.5
    kmeans_iterations: int = 12
    kmeans_tokens: int = 32_768


class MovingCodebook:
    """Moves the rows of a codebook towards the mean direction of the tokens that chose them.

    Parameters
    ----------
    codes
        The encoder's own codebook (codes, dim); changed in place, so what is trained is what is saved.
    settings
        How fast it moves.

    Attributes
    ----------
    usage
        Moving average of the tokens per code and batch, (codes,).
    """

    def __init__(self, codes: Tensor, settings: QuantiserSettings) -> None:
        self._codes = codes
        self._settings = settings
        self.usage = torch.zeros(len(codes))

    @torch.no_grad()
    def start(self, tokens: Tensor, generator: torch.Generator) -> None:
        """Spherical k-means over `tokens` (n, dim): the codes begin where the encoder's tokens are."""
        number = len(self._codes)
        points = F.normalize(tokens, dim=-1)
        points = points[torch.randperm(len(points), generator=generator)[: self._settings.kmeans_tokens]]
        if len(points) < number:
            raise ValueError(f"{len(points)} tokens cannot start {number} codes")
        means = points[:number].clone()
        for _ in range(self._settings.kmeans_iterations):
            sums, counts = _assigned_sums(points, means)
            used = counts > 0
            means[used] = F.normalize(sums[used], dim=-1)
            means[~used] = _random_rows(points, int((~used).sum()), generator)
        self._codes.copy_(means)
        self.usage.fill_(2 * self._settings.minimum_usage)

    @torch.no_grad()
    def update(self, tokens: Tensor, indices: Tensor, generator: torch.Generator) -> None:
        """One batch: `tokens` (n, dim) as the encoder gave them, `indices` (n,) the codes they chose."""
        decay, minimum = self._settings.decay, self._settings.minimum_usage
        points = F.normalize(tokens, dim=-1)
        counts = torch.bincount(indices, minlength=len(self._codes)).to(points.dtype)
        sums = torch.zeros_like(self._codes).index_add_(0, indices, points)
        self.usage.mul_(decay).add_(counts, alpha=1 - decay)
        used = counts > 0
        moved = decay * self._codes[used] + (1 - decay) * F.normalize(sums[used], dim=-1)
        self._codes[used] = F.normalize(moved, dim=-1)
        dead = self.usage < minimum
        # A code that nobody uses stays where it is for ever; a token of this batch gives it a new start.
        self._codes[dead] = _random_rows(points, int(dead.sum()), generator)
        self.usage[dead] = 2 * minimum


def straight_through(tokens: Tensor, codes: Tensor) -> Tensor:
    """The value of `codes`, the gradient of the normalised `tokens` (any shape, last axis dim).

    Codes are unit vectors and tokens are not: the gradient goes through the direction of the token, which is
    all that the choice of a code depends on.
    """
    direction = F.normalize(tokens, dim=-1)
    return direction + (codes - direction).detach()


def commitment_loss(tokens: Tensor, codes: Tensor) -> Tensor:
    """Mean squared distance of the tokens' directions from the codes they chose; keeps tokens near codes."""
    return (F.normalize(tokens, dim=-1) - codes.detach()).square().sum(dim=-1).mean()


def _assigned_sums(points: Tensor, means: Tensor) -> tuple[Tensor, Tensor]:
    nearest = (points @ means.T).argmax(dim=-1)
    sums = torch.zeros_like(means).index_add_(0, nearest, points)
    return sums, torch.bincount(nearest, minlength=len(means)).to(points.dtype)


def _random_rows(points: Tensor, count: int, generator: torch.Generator) -> Tensor:
    return points[torch.randint(len(points), (count,), generator=generator)]
