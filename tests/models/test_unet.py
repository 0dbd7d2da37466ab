"""The diffusion UNet against the original's."""

from __future__ import annotations

from pathlib import Path

import torch

from models.unet import UNet, UNetConfig
from tests.models.reference import assert_close, small_unet, tensors


@torch.no_grad()
def test_noise_and_variance_are_the_originals(parity: Path) -> None:
    network, expected = small_unet(parity), tensors(parity, "diffusion_unet_small/io")
    assert_close(network(expected["x"], expected["t"], expected["y"]), expected["out"])


@torch.no_grad()
def test_a_slice_answers_the_same_alone_and_in_a_batch(parity: Path) -> None:
    network, expected = small_unet(parity), tensors(parity, "diffusion_unet_small/io")
    x, t, y = expected["x"], expected["t"], expected["y"]
    alone = torch.cat([network(x[i : i + 1], t[i : i + 1], y[i : i + 1]) for i in range(len(x))])
    assert_close(alone, network(x, t, y), tolerance=1e-5)


def test_a_new_network_predicts_nothing_and_learns_at_every_depth() -> None:
    torch.manual_seed(0)
    network = UNet(UNetConfig(24, 32, 1, attention_resolutions=(4,), channel_mult=(1, 1, 2)))
    x, t, y = torch.randn(2, 1, 24, 24), torch.tensor([3, 150]), torch.tensor([0, 1])
    assert torch.count_nonzero(network(x, t, y)) == 0
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    for _ in range(4):
        optimiser.zero_grad()
        (network(x, t, y) - torch.randn(2, 2, 24, 24)).square().mean().backward()
        optimiser.step()
    without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []
