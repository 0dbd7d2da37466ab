"""The product through a convolution is the product."""

from __future__ import annotations

import pytest
import torch

from models.dense import Dense, dense


@pytest.mark.parametrize("shape", [(700, 24), (5, 200, 24), (511, 24), (512, 24), (1, 24), (24,)])
@pytest.mark.parametrize("bias", [True, False])
def test_dense_is_a_linear_layer(shape: tuple[int, ...], *, bias: bool) -> None:
    torch.manual_seed(1)
    layer = Dense(24, 40, bias=bias)
    x = torch.randn(shape)
    torch.testing.assert_close(layer(x), torch.nn.functional.linear(x, layer.weight, layer.bias))


def test_tokens_that_do_not_lie_in_order() -> None:
    torch.manual_seed(1)
    weight, x = torch.randn(8, 16), torch.randn(16, 30, 40).permute(2, 1, 0)
    torch.testing.assert_close(dense(x, weight), x @ weight.T)


def test_gradients_reach_input_and_weights() -> None:
    torch.manual_seed(1)
    layer, x = Dense(6, 4), torch.randn(600, 6, requires_grad=True)
    layer(x).square().sum().backward()
    found = [x.grad, layer.weight.grad, layer.bias.grad]
    x2 = x.detach().clone().requires_grad_()
    weight, bias = (p.detach().clone().requires_grad_() for p in (layer.weight, layer.bias))
    torch.nn.functional.linear(x2, weight, bias).square().sum().backward()
    for ours, theirs in zip(found, [x2.grad, weight.grad, bias.grad], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
