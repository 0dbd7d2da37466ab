"""The transformer blocks of the image encoder: position convolution, cosine attention, gated feed-forward."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from models.dense import Dense

ATTENTION_SCALE = 8.0  # of cosine similarities; takes the place of 1 / sqrt(dim_head)


class GainNorm(nn.Module):
    """LayerNorm with a trained gain; the offset ``beta`` is a buffer that stays zero in every checkpoint."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim))
        self.beta: Tensor
        self.register_buffer("beta", torch.zeros(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last axis."""
        return F.layer_norm(x, x.shape[-1:], self.gamma, self.beta)


class PositionConvolution(nn.Module):
    """Depthwise 3x3x3 convolution that tells tokens where they are, causal along the first axis."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dsconv = nn.Conv3d(dim, dim, 3, groups=dim)

    def forward(self, tokens: Tensor, shape: tuple[int, int, int, int]) -> Tensor:
        """Tokens (n, m, d), read in memory order as (b, t, h, w, d) = ``shape`` + (d,); same shape out."""
        # Padded while the features are the last axis in memory, where the convolution then finds them.
        volume = F.pad(tokens.reshape(*shape, -1), (0, 0, 1, 1, 1, 1, 2, 0))
        volume = self.dsconv(rearrange(volume, "b t h w d -> b d t h w"))
        positioned: Tensor = rearrange(volume, "b d t h w -> b t h w d")
        return positioned.reshape(tokens.shape)


class CosineAttention(nn.Module):
    """Self-attention on l2-normalised queries and keys; only the query sees the normalised tokens.

    ``products`` brings what is multiplied into the precision of the products; see :mod:`models.precision`.
    """

    def __init__(self, dim: int, dim_head: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.products: Callable[[Tensor], Tensor] = Tensor.float
        inner = dim_head * heads
        self.q_scale = nn.Parameter(torch.ones(dim_head))
        self.k_scale = nn.Parameter(torch.ones(dim_head))
        self.norm = GainNorm(dim)
        self.to_q = Dense(dim, inner, bias=False)
        self.to_kv = Dense(dim, inner * 2, bias=False)
        self.to_out = Dense(inner, dim, bias=False)

    def forward(self, tokens: Tensor, bias: Tensor | None = None) -> Tensor:
        """Tokens (n, m, d) with an optional bias (heads, m, m); same shape out."""
        parts = (self.to_q(self.norm(tokens)), *self.to_kv(tokens).chunk(2, dim=-1))
        q, k, v = (rearrange(part, "n m (h d) -> n h m d", h=self.heads) for part in parts)
        q = self.products(F.normalize(q.float(), dim=-1) * self.q_scale)
        k = self.products(F.normalize(k.float(), dim=-1) * self.k_scale)
        v = self.products(v)
        # Four axes, since the fast kernel on CPU takes no mask of three.
        mask = None if bias is None else self.products(bias[None])
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=ATTENTION_SCALE)
        projected: Tensor = self.to_out(rearrange(attended, "n h m d -> n m (h d)"))
        return projected


class GatedGELU(nn.Module):
    """Half of the features gate the other half."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., 2d) -> (..., d)"""
        value, gate = x.chunk(2, dim=-1)
        return F.gelu(gate) * value


def feed_forward(dim: int, dropout: float = 0.0) -> nn.Sequential:
    """Gated feed-forward block, with as many parameters as a plain one of four times the width."""
    hidden = int(4 * (2 / 3) * dim)
    return nn.Sequential(
        nn.LayerNorm(dim),
        Dense(dim, hidden * 2, bias=False),
        GatedGELU(),
        nn.Dropout(dropout),
        Dense(hidden, dim, bias=False),
    )


class TokenTransformer(nn.Module):
    """``depth`` times position convolution, attention, feed-forward, each with a residual; then a norm."""

    def __init__(self, *, dim: int, depth: int, dim_head: int, heads: int) -> None:
        super().__init__()
        # Slot 2 is the cross-attention of the original block, which the encoder does not have.
        self.layers = nn.ModuleList(
            nn.ModuleDict(
                {
                    "0": PositionConvolution(dim),
                    "1": CosineAttention(dim, dim_head, heads),
                    "3": feed_forward(dim),
                }
            )
            for _ in range(depth)
        )
        self.norm_out = GainNorm(dim)

    def forward(self, tokens: Tensor, shape: tuple[int, int, int, int], bias: Tensor | None = None) -> Tensor:
        """Tokens (n, m, d) of volumes of ``shape`` (b, t, h, w), bias (heads, m, m); same shape out."""
        tokens = tokens.contiguous()
        for layer in self.layers:
            assert isinstance(layer, nn.ModuleDict)  # noqa: S101 -- tells the type checker so
            tokens = tokens + layer["0"](tokens, shape)
            tokens = tokens + layer["1"](tokens, bias)
            tokens = tokens + layer["3"](tokens)
        normed: Tensor = self.norm_out(tokens)
        return normed
