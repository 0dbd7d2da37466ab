"""Where the encoder's wide layers begin: at something useful, because a thousand steps are few."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import Tensor, nn


@torch.no_grad()
def start_as_cosines(embedding: nn.Module, patch: tuple[int, int, int]) -> None:
    """Let the patch embedding begin as a cosine transform: the lowest frequencies of a patch (z, x, y).

    Random weights see a patch of lung as noise, and a nodule as other noise; low frequencies average the
    noise away and keep blobs and edges with their places. Rows grow with frequency, as anatomy's contrast
    falls with it.
    """
    if not isinstance(embedding, nn.Linear) or embedding.in_features != int(np.prod(patch)):
        raise TypeError(f"the patch embedding does not project patches of {patch}")
    frequencies = sorted(
        itertools.product(*(range(n) for n in patch)), key=lambda k: (sum(f * f for f in k), k)
    )
    rows = []
    for frequency in frequencies[: embedding.out_features]:
        waves = [np.cos(np.pi * f * (np.arange(n) + 0.5) / n) for f, n in zip(frequency, patch, strict=True)]
        row = np.einsum("i,j,k->ijk", *waves).ravel()
        rows.append(row / np.linalg.norm(row) * (1 + np.linalg.norm(frequency)))
    start = torch.from_numpy(np.stack(rows)).float()
    fresh = (3 * embedding.in_features) ** -0.5
    embedding.weight[: len(start)] = start * (fresh / start.square().mean().sqrt())


@torch.no_grad()
def start_as_mean(projection: nn.Linear, positions: int) -> None:
    """Give every position of the plane the same weights: the latent begins as a projection of the mean token.

    Random weights at each of 100 positions would ask every token for something else, and the encoder would
    learn where to look before it has learned what to see.
    """
    tile(projection, projection.weight[:, : projection.in_features // positions].clone())


@torch.no_grad()
def distinguishing_projection(means: Tensor, asked: Tensor, dim_latent: int) -> Tensor:
    """Rows (dim_latent, dim) that show how the mean tokens (cases, dim) of cases differ.

    Cases differ by a twentieth of what they share, and a latent is scaled to length 1: projected at random,
    all cases would look alike. Here the first row keeps what is shared, as the yardstick; the others are
    orthogonal to it: the directions `asked` (findings, dim) by which tokens tell findings, then the principal
    components. Each is scaled to the spread of the cases along it.
    """
    shared = means.mean(dim=0)
    deviations = means - shared
    components = torch.linalg.svd(deviations, full_matrices=False).Vh
    basis = torch.linalg.qr(torch.cat([shared[None], asked, components])[: means.shape[1]].T).Q.T[:dim_latent]
    rows = basis[1:] / (deviations @ basis[1:].T).std(dim=0).clamp(min=1e-4)[:, None]
    yardstick = basis[:1] * len(rows) ** 0.5 / shared.norm()
    return torch.cat([yardstick, rows])


@torch.no_grad()
def tile(projection: nn.Linear, at_one_position: Tensor) -> None:
    """The same weights at every position, as large as a fresh layer's; rows beyond those given stay."""
    rows, dim = at_one_position.shape
    weights = at_one_position.repeat(1, projection.in_features // dim)
    fresh = (3 * projection.in_features) ** -0.5
    projection.weight[:rows] = weights * (fresh / weights.square().mean().sqrt())
