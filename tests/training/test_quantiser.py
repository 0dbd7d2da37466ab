"""The codebook goes to where the tokens are, and tokens feel the loss through it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from models.vector_quantiser import VectorQuantiser
from training.quantiser import MovingCodebook, QuantiserSettings, commitment_loss, straight_through


def clusters(count: int, each: int, dim: int = 8) -> tuple[Tensor, Tensor]:
    """Tokens around `count` orthogonal directions, of any length, and the directions."""
    generator = torch.Generator().manual_seed(3)
    directions = torch.eye(dim)[:count]
    noise = 0.05 * torch.randn(count, each, dim, generator=generator)
    lengths = 1 + 5 * torch.rand(count, each, 1, generator=generator)
    return ((directions[:, None] + noise) * lengths).flatten(0, 1), directions


def test_kmeans_finds_the_directions_of_the_tokens() -> None:
    tokens, directions = clusters(4, 50)
    quantiser = VectorQuantiser(8, 4)
    MovingCodebook(quantiser.codes, QuantiserSettings()).start(tokens, torch.Generator().manual_seed(0))
    nearest = (directions @ quantiser.codes.T).max(dim=1).values
    assert nearest.min() > 0.99


def test_updates_move_the_chosen_code_and_leave_the_others() -> None:
    quantiser = VectorQuantiser(8, 3)
    quantiser.codes.copy_(torch.eye(8)[:3])
    codebook = MovingCodebook(quantiser.codes, QuantiserSettings(decay=0.9))
    codebook.usage.fill_(10)
    tokens = F.normalize(torch.tensor([[1.0, 0, 0, 1.0, 0, 0, 0, 0]]), dim=-1).repeat(20, 1) * 7
    before = quantiser.codes.clone()
    for _ in range(30):
        _, indices = quantiser(tokens)
        codebook.update(tokens, indices, torch.Generator().manual_seed(0))
        codebook.usage.fill_(10)
    torch.testing.assert_close(quantiser.codes[0], tokens[0] / 7, atol=0.05, rtol=0)
    assert torch.equal(quantiser.codes[1:], before[1:])
    torch.testing.assert_close(quantiser.codes.norm(dim=-1), torch.ones(3))


def test_a_code_that_nobody_uses_starts_anew_at_a_token() -> None:
    quantiser = VectorQuantiser(8, 2)
    quantiser.codes.copy_(torch.eye(8)[:2])
    codebook = MovingCodebook(quantiser.codes, QuantiserSettings())
    codebook.usage.copy_(torch.tensor([10.0, 0.0]))
    tokens = torch.eye(8)[:1].repeat(5, 1) + 0.1
    codebook.update(tokens, torch.zeros(5, dtype=torch.long), torch.Generator().manual_seed(0))
    torch.testing.assert_close(quantiser.codes[1], F.normalize(tokens[0], dim=-1))


def test_straight_through_reads_the_code_and_passes_the_gradient_to_the_token() -> None:
    tokens = torch.tensor([[3.0, 4.0]], requires_grad=True)
    codes = torch.tensor([[1.0, 0.0]])
    read = straight_through(tokens, codes)
    torch.testing.assert_close(read.detach(), codes)
    (read * torch.tensor([[0.0, 1.0]])).sum().backward()
    # The gradient of the token's direction: along its length nothing changes.
    assert tokens.grad is not None
    torch.testing.assert_close(tokens.grad, torch.tensor([[-0.6 * 0.8, 0.36]]) / 5)


def test_commitment_draws_tokens_to_their_codes_and_not_codes_to_tokens() -> None:
    tokens = torch.tensor([[0.0, 2.0]], requires_grad=True)
    codes = torch.tensor([[1.0, 0.0]], requires_grad=True)
    loss = commitment_loss(tokens, codes)
    loss.backward()
    assert loss.item() == 2.0
    assert codes.grad is None
    assert tokens.grad is not None
    assert tokens.grad[0, 0] < 0
