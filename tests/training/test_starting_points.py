"""The wide layers begin where training would otherwise have to find its way first."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from training.starting_points import distinguishing_projection, start_as_cosines, start_as_mean


def test_the_patch_embedding_begins_blind_to_noise_and_not_to_blobs() -> None:
    patch = (4, 8, 8)
    embedding = nn.Linear(int(np.prod(patch)), 32)
    random = embedding.weight.detach().clone()
    start_as_cosines(embedding, patch)
    weight = embedding.weight.detach()
    torch.testing.assert_close(weight @ weight.T, torch.diag((weight @ weight.T).diag()), atol=1e-5, rtol=0)
    assert weight.square().mean().sqrt().item() == pytest.approx(
        random.square().mean().sqrt().item(), rel=0.1
    )
    blob = torch.zeros(patch)
    blob[1:3, 2:6, 3:7] = 1
    noise = torch.randn(200, 256, generator=torch.Generator().manual_seed(0))
    noise = noise / noise.norm(dim=1, keepdim=True) * blob.norm()

    def contrast(w: torch.Tensor) -> float:
        return ((w @ blob.flatten()).norm() / (noise @ w.T).norm(dim=1).mean()).item()

    assert contrast(weight) > 1.5 * contrast(random)
    with pytest.raises(TypeError, match="patches"):
        start_as_cosines(embedding, (4, 8, 9))


def test_every_position_begins_with_the_same_weights() -> None:
    projection = nn.Linear(9 * 5, 4, bias=False)
    start_as_mean(projection, 9)
    tokens = torch.rand(9, 5)
    shuffled = tokens[torch.randperm(9, generator=torch.Generator().manual_seed(1))]
    torch.testing.assert_close(projection(tokens.flatten()), projection(shuffled.flatten()))


def test_the_latent_shows_what_differs_between_cases_and_not_what_they_share() -> None:
    generator = torch.Generator().manual_seed(2)
    shared = torch.randn(24, generator=generator)
    finding = nn.functional.normalize(torch.randn(24, generator=generator), dim=0)
    present = (torch.arange(60) % 3 == 0).float()
    means = shared + 0.02 * torch.randn(60, 24, generator=generator) + 0.05 * present[:, None] * finding
    rows = distinguishing_projection(means, finding[None], dim_latent=8)
    latents = means @ rows.T
    assert rows.shape == (8, 24)
    assert latents[:, 0].std() < 0.1 * latents[:, 0].mean().abs()
    torch.testing.assert_close(latents[:, 1:].std(dim=0), torch.ones(7), atol=0.02, rtol=0)
    parted = latents[:, 1] * (rows[1] @ finding).sign()
    assert parted[present == 1].min() > parted[present == 0].median()
