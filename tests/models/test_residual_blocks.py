"""Group norm in every layout, and one embedding for a whole batch."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models.residual_blocks import GroupNorm32, ResidualBlock


@pytest.fixture
def norm() -> GroupNorm32:
    torch.manual_seed(2)
    network = GroupNorm32(64)
    torch.nn.init.normal_(network.weight)
    torch.nn.init.normal_(network.bias)
    return network


def exact(norm: GroupNorm32, x: Tensor) -> Tensor:
    return F.group_norm(x.double(), 32, norm.weight.double(), norm.bias.double(), norm.eps)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("mean", [0.0, 2.0])
@torch.no_grad()
def test_every_layout_of_a_large_map_keeps_float32_digits(
    norm: GroupNorm32, layout: torch.memory_format, mean: float
) -> None:
    x = (torch.randn(2, 64, 192, 192) * 0.5 + mean).contiguous(memory_format=layout)
    difference = (norm(x) - exact(norm, x)).abs().max().item()
    # torch's own kernel for channels last is off by 1e-3 here.
    assert difference < 3e-5


@torch.no_grad()
def test_a_map_in_bf16_stays_in_bf16(norm: GroupNorm32) -> None:
    x = torch.randn(2, 64, 16, 16).bfloat16()
    normalised = norm(x)
    assert normalised.dtype == torch.bfloat16
    assert (normalised - exact(norm, x)).abs().max().item() < 0.05


@torch.no_grad()
def test_one_embedding_for_a_batch_is_the_same_embedding_for_each() -> None:
    torch.manual_seed(3)
    block = ResidualBlock(32, 8, 64)
    torch.nn.init.normal_(block.out_layers[3].weight)
    x, embedding = torch.randn(3, 32, 12, 12), torch.randn(1, 8)
    torch.testing.assert_close(block(x, embedding), block(x, embedding.expand(3, -1)), rtol=1e-4, atol=1e-4)
    other = torch.cat([embedding, embedding + 1, embedding])
    assert not torch.allclose(block(x, other)[1], block(x, embedding)[1], atol=1e-2)
