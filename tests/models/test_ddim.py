"""Noise schedule, guided steps and whole reconstructions against the original's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.ddim import (
    DiffusionSchedule,
    classifier_guidance,
    ddim_step,
    original_steps,
    reconstruct,
    slice_errors,
    strided_steps,
)
from models.slice_classifier import SliceClassifier
from models.unet import UNet
from tests.models.reference import assert_close, config, small_slice_classifier, small_unet, tensors

SCHEDULE = DiffusionSchedule.linear()


@pytest.fixture(scope="module")
def expected(parity: Path) -> dict[str, Tensor]:
    return tensors(parity, "ddim_small/io")


@pytest.fixture(scope="module")
def classifier(parity: Path) -> SliceClassifier:
    return small_slice_classifier(parity)


@pytest.fixture(scope="module")
def unet(parity: Path) -> UNet:
    return small_unet(parity)


def test_the_schedule_is_the_originals(expected: dict[str, Tensor]) -> None:
    np.testing.assert_allclose(SCHEDULE.betas, expected["schedule.betas"], rtol=1e-12)
    np.testing.assert_allclose(SCHEDULE.alphas_cumprod, expected["schedule.alphas_cumprod"], rtol=1e-12)


def test_noising_is_the_originals(expected: dict[str, Tensor]) -> None:
    noised = SCHEDULE.q_sample(expected["batch"], 200, expected["noise"])
    assert_close(noised, expected["x_encoded"])


@pytest.mark.parametrize("steps", [12, 300])
def test_the_originals_timesteps_and_where_they_arrive(expected: dict[str, Tensor], steps: int) -> None:
    planned = original_steps(SCHEDULE, 200, steps)
    visited = expected[f"timesteps_{steps}"][:-1].tolist()  # the last one is never run
    assert [t for t, _ in planned] == visited
    arrivals = expected["schedule.alphas_cumprod_prev"][visited]
    np.testing.assert_allclose([alpha_bar for _, alpha_bar in planned], arrivals, rtol=1e-12)


@pytest.mark.parametrize("t", [199, 50, 1, 0])
def test_single_steps_and_gradients_are_the_originals(
    parity: Path, expected: dict[str, Tensor], classifier: SliceClassifier, unet: UNet, t: int
) -> None:
    x, step = expected["x_encoded"], (t, float(expected["schedule.alphas_cumprod_prev"][t]))
    assert_close(classifier_guidance(classifier, 1.0)(x, t), expected[f"t{t}.cond_grad"])
    guidance = classifier_guidance(classifier, config(parity, "ddim_small")["classifier_scale"])
    with torch.no_grad():
        guided = ddim_step(unet, x, step, SCHEDULE, guidance=guidance)
        unguided = ddim_step(unet, x, step, SCHEDULE)
    assert_close(guided.sample, expected[f"t{t}.sample"])
    assert_close(guided.pred_xstart, expected[f"t{t}.pred_xstart"])
    assert_close(unguided.sample, expected[f"t{t}.sample_unguided"])
    assert_close(unguided.pred_xstart, expected[f"t{t}.pred_xstart_unguided"])


@pytest.mark.parametrize("steps", [12, 300])
def test_whole_reconstructions_are_the_originals(
    expected: dict[str, Tensor], classifier: SliceClassifier, unet: UNet, steps: int
) -> None:
    slices, noise = expected["batch"], expected[f"predict{steps}.noise"]
    made = reconstruct(unet, classifier, slices, noise, steps=steps, schedule="original")
    assert_close(made, expected[f"predict{steps}.reconstructed"])
    errors = slice_errors(made, slices).double()
    scores = torch.stack([errors.mean(), errors.max(), errors.std(correction=0)])
    torch.testing.assert_close(scores, expected[f"predict{steps}.scores_mean_max_std"], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(("level", "steps"), [(200, 12), (200, 1), (7, 50)])
def test_strided_steps_are_distinct_and_each_arrives_where_the_next_begins(level: int, steps: int) -> None:
    planned = strided_steps(SCHEDULE, level, steps)
    visited = [t for t, _ in planned]
    assert visited == sorted(set(visited), reverse=True)
    assert visited[0] == level
    assert len(visited) == min(steps, level + 1)
    assert [alpha_bar for _, alpha_bar in planned] == [*SCHEDULE.alphas_cumprod[visited[1:]], 1.0]
    assert steps == 1 or visited[-1] == 0


class KnowsTheSlice(nn.Module):
    """A UNet that always sees the clean slice behind the noise: DDIM must then lead there."""

    def __init__(self, clean: Tensor) -> None:
        super().__init__()
        self.clean = clean

    def forward(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        assert (y == 0).all()
        alpha_bar = float(SCHEDULE.alphas_cumprod[int(t[0])])
        eps = (x - alpha_bar**0.5 * self.clean) / (1 - alpha_bar) ** 0.5
        return torch.cat([eps, torch.full_like(eps, 9.0)], dim=1)


class Indifferent(nn.Module):
    """A classifier without an opinion: guidance must then change nothing."""

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        assert len(t) == 1  # one timestep for the whole batch
        return torch.stack([x.sum(dim=(1, 2, 3))] * 2, dim=1)


def test_a_strided_reconstruction_ends_without_noise_at_what_the_network_believes() -> None:
    torch.manual_seed(0)
    clean, slices = torch.rand(2, 1, 8, 8) - 0.5, torch.rand(2, 1, 8, 8) - 0.5
    made = reconstruct(
        KnowsTheSlice(clean), Indifferent(), slices, torch.randn(2, 1, 8, 8), steps=6, schedule="strided"
    )
    torch.testing.assert_close(made, clean, atol=1e-4, rtol=0)


def test_guidance_leads_towards_normal(expected: dict[str, Tensor], classifier: SliceClassifier) -> None:
    x = expected["x_encoded"]
    slope = classifier_guidance(classifier, 1.0)(x, 50)
    t = torch.full((len(x),), 50)
    with torch.no_grad():
        before = classifier(x, t).softmax(dim=-1)[:, 0]
        after = classifier(x + 0.1 * slope / slope.abs().amax(), t).softmax(dim=-1)[:, 0]
    assert (after > before).all()


def test_reconstruction_works_where_gradients_are_off(
    expected: dict[str, Tensor], classifier: SliceClassifier, unet: UNet
) -> None:
    arguments = (unet, classifier, expected["batch"], expected["noise"])
    freely = reconstruct(*arguments, steps=2, schedule="strided")
    with torch.inference_mode():
        confined = reconstruct(*arguments, steps=2, schedule="strided")
    assert not freely.requires_grad
    torch.testing.assert_close(confined, freely)


def test_a_slice_is_reconstructed_the_same_alone_and_in_a_batch(
    expected: dict[str, Tensor], classifier: SliceClassifier, unet: UNet
) -> None:
    slices, noise = expected["batch"], expected["noise"]
    together = reconstruct(unet, classifier, slices, noise, steps=3, schedule="strided")
    alone = reconstruct(unet, classifier, slices[1:], noise[1:], steps=3, schedule="strided")
    assert_close(alone, together[1:], tolerance=1e-5)
