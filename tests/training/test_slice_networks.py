"""Slices are drawn with the right class, noised as the diffusion will denoise them, and learned from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from models.ddim import DiffusionSchedule
from models.slice_classifier import SliceClassifier
from models.unet import UNet
from training.dataset import Thoraces
from training.diffusion import NoisySlices, SliceRun, classifier_loss, train_classifier, train_unet, unet_loss
from training.recipe import Recipe
from training.slices import SliceBatch, SlicePool


@pytest.fixture(scope="module")
def pool(tiny_cases: Thoraces) -> SlicePool:
    return SlicePool(tiny_cases, 16)


def test_half_of_the_slices_are_abnormal_and_every_draw_can_be_repeated(pool: SlicePool) -> None:
    batch = pool.draw(10, np.random.default_rng(4))
    again = pool.draw(10, np.random.default_rng(4))
    assert batch.images.shape == (10, 1, 16, 16)
    assert batch.classes.tolist() == [0, 1] * 5
    assert torch.equal(batch.images, again.images)
    assert batch.images.min() >= -1
    assert batch.images.max() <= 1


def test_slices_are_noised_as_reconstruction_noises_them() -> None:
    images, noise = torch.rand(3, 1, 4, 4), torch.randn(3, 1, 4, 4)
    noisy = NoisySlices(200)
    schedule = DiffusionSchedule.linear()
    for t in (0, 50, 199):
        expected = schedule.q_sample(images, t, noise)
        torch.testing.assert_close(noisy.at(images, torch.full((3,), t), noise), expected)
    drawn = noisy.timesteps(500, np.random.default_rng(0))
    assert drawn.min() == 0
    assert 190 < drawn.max() < 200


def fixed(images: torch.Tensor) -> SliceBatch:
    return SliceBatch(images, torch.arange(len(images)) % 2)


def test_both_networks_learn(tmp_path: Path, tiny_recipe: Recipe, pool: SlicePool) -> None:
    torch.manual_seed(0)
    noisy = NoisySlices(200)
    for network, make in (
        (SliceClassifier(tiny_recipe.classifier), classifier_loss),
        (UNet(tiny_recipe.unet), unet_loss),
    ):
        loss = make(network, noisy)
        probe = pool.draw(32, np.random.default_rng(99))
        with torch.no_grad():
            before = loss(probe, np.random.default_rng(1)).item()
        name = type(network).__name__
        SliceRun(network, loss, pool, tiny_recipe.unet_training, tmp_path / name).run(seed=1)
        with torch.no_grad():
            after = loss(probe, np.random.default_rng(1)).item()
        assert after < before, name


def test_a_perfect_prediction_of_the_noise_has_the_least_loss() -> None:
    """With the posterior's own variance, share 0 of the learned range, a perfect mean's bound is zero."""
    noisy = NoisySlices(200)
    images = torch.rand(4, 1, 8, 8) - 0.5

    class Oracle(torch.nn.Module):
        def forward(self, x: torch.Tensor, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            eps = (x - noisy.signal[t][:, None, None, None] * images) / noisy.noise[t][:, None, None, None]
            return torch.cat([eps, torch.full_like(eps, -1.0)], dim=1)

    assert unet_loss(Oracle(), noisy)(fixed(images), np.random.default_rng(0)).item() == pytest.approx(
        0, abs=1e-4
    )


def test_finished_networks_are_taken_up_and_not_trained_again(
    tmp_path: Path, tiny_recipe: Recipe, pool: SlicePool
) -> None:
    first = train_classifier(tiny_recipe, pool, pool, tmp_path), train_unet(tiny_recipe, pool, tmp_path)
    stamps = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.pt")}
    second = train_classifier(tiny_recipe, pool, pool, tmp_path), train_unet(tiny_recipe, pool, tmp_path)
    assert stamps == {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.pt")}
    for one, two in zip(first, second, strict=True):
        for name, value in one.state_dict().items():
            assert torch.equal(two.state_dict()[name], value), name
