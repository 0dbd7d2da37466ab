"""Blocks that the slice classifier and the diffusion UNet share.

Dhariwal and Nichol, "Diffusion Models Beat GANs on Image Synthesis" (2021), the ADM architecture.
"""

from __future__ import annotations

import math
from typing import Literal, TypeVar

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

ModuleT = TypeVar("ModuleT", bound=nn.Module)

GROUPS = 32


class GroupNorm32(nn.GroupNorm):
    """Group normalisation of 32 groups, computed in float32 whatever the precision of the rest."""

    def __init__(self, channels: int) -> None:
        super().__init__(GROUPS, channels)

    def forward(self, x: Tensor, scale: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
        """Normalise (b, c, ...), then multiply by 1 + ``scale`` and add ``shift``, both (1 or b, c)."""
        weight, bias = self.weight.float(), self.bias.float()
        if scale is None or shift is None:
            return self._normalised(x, weight, bias)
        scale, shift = scale.float(), shift.float()
        if len(scale) == 1:
            # One embedding for the whole batch: it goes into the gain, which saves two passes over the map.
            gain = 1 + scale[0]
            return self._normalised(x, weight * gain, bias * gain + shift[0])
        places = (*scale.shape, *[1] * (x.dim() - 2))
        normalised = self._normalised(x, weight, bias)
        return torch.addcmul(shift.view(places), normalised, 1 + scale.view(places)).to(x.dtype)

    def _normalised(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        if x.device.type != "cpu":
            return F.group_norm(x.float(), GROUPS, weight, bias, self.eps).to(x.dtype)
        if x.dtype != torch.float32:
            # This kernel takes a map of fewer bits as it is and sums in float32.
            return F.group_norm(x, GROUPS, weight, bias, self.eps)
        if x.dim() != 4 or x.is_contiguous() or torch.is_grad_enabled():
            return F.group_norm(x.contiguous(), GROUPS, weight, bias, self.eps)
        return _channels_last_group_norm(x, weight, bias, self.eps)


def _channels_last_group_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """Group norm of a map (b, c, h, w) whose channels are the last axis in memory.

    torch's own kernel for this layout adds up one number after the other and loses two digits on a large map;
    `sum` adds in a tree and does not.
    """
    size = x[0, 0].numel()
    sums = torch.stack([x.sum(dim=(2, 3)), x.square().sum(dim=(2, 3))]).double()
    mean, square = sums.view(2, len(x), GROUPS, -1).mean(dim=3) / size
    gain = (square - mean.square() + eps).rsqrt().repeat_interleave(x.shape[1] // GROUPS, dim=1) * weight
    offset = bias - mean.repeat_interleave(x.shape[1] // GROUPS, dim=1) * gain
    return torch.addcmul(offset.float()[:, :, None, None], x, gain.float()[:, :, None, None])


def zeroed(module: ModuleT) -> ModuleT:
    """The module with all parameters zero: a residual branch starts as nothing and training opens it."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


def timestep_embedding(t: Tensor, channels: int) -> Tensor:
    """Timesteps (b,) -> [cos, sin] features (b, channels), wavelengths 1 to 10,000 steps in radians."""
    half = channels // 2
    frequencies = torch.exp(
        -math.log(10_000) * torch.arange(half, dtype=torch.float32, device=t.device) / half
    )
    angles = t[:, None].float() * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def time_mlp(channels: int) -> nn.Sequential:
    """The two layers between the timestep's features and the embedding of four times the width."""
    return nn.Sequential(nn.Linear(channels, channels * 4), nn.SiLU(), nn.Linear(channels * 4, channels * 4))


class ResidualBlock(nn.Module):
    """Two convolutions; the embedding scales and shifts the second norm; optionally halves the resolution."""

    def __init__(self, channels: int, embedding: int, out_channels: int, *, down: bool = False) -> None:
        super().__init__()
        self.down = nn.AvgPool2d(2) if down else nn.Identity()
        self.in_layers = nn.Sequential(
            GroupNorm32(channels), nn.SiLU(inplace=True), nn.Conv2d(channels, out_channels, 3, padding=1)
        )
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(embedding, 2 * out_channels))
        self.out_layers = nn.Sequential(
            GroupNorm32(out_channels),
            nn.SiLU(inplace=True),
            nn.Identity(),  # the original's dropout, 0 in the published networks
            zeroed(nn.Conv2d(out_channels, out_channels, 3, padding=1)),
        )
        same = channels == out_channels
        self.skip_connection = nn.Identity() if same else nn.Conv2d(channels, out_channels, 1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """(b, c, h, w) and (1 or b, embedding) -> (b, out_channels, h, w), or half of h and w."""
        hidden = self.in_layers[2](self.down(self.in_layers[1](self.in_layers[0](x))))
        hidden = self.out_layers[0](hidden, *self.emb_layers(embedding).chunk(2, dim=1))
        hidden = self.out_layers[3](self.out_layers[1](hidden))
        out: Tensor = self.skip_connection(self.down(x)) + hidden
        return out


def split_heads(
    qkv: Tensor, heads: int, order: Literal["head first", "part first"]
) -> tuple[Tensor, Tensor, Tensor]:
    """(b, 3 * heads * d, n) -> q, k, v, each (b, heads, n, d).

    Two orders of the channels exist: the legacy one, a head's q, k, v side by side, and the newer one, all
    heads' q before all k before all v.
    """
    pattern = "b (h s d) n -> s b h n d" if order == "head first" else "b (s h d) n -> s b h n d"
    # Laid out anew: the fast attention kernels need a head's numbers side by side.
    q, k, v = rearrange(qkv, pattern, h=heads, s=3).contiguous()
    return q, k, v


class AttentionBlock(nn.Module):
    """Self-attention over the positions of a feature map, with a residual."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = GroupNorm32(channels)
        self.qkv = nn.Conv1d(channels, channels * 3, 1)
        self.proj_out = zeroed(nn.Conv1d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, h, w) -> (b, c, h, w)"""
        q, k, v = split_heads(self.qkv(self.norm(x).flatten(2)), self.heads, "head first")
        attended = rearrange(F.scaled_dot_product_attention(q, k, v), "b h n d -> b (h d) n")
        change: Tensor = self.proj_out(attended)
        return x + change.view_as(x)


class Stage(nn.ModuleList):
    """A sequence whose residual blocks also receive the embedding."""

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """(b, c, h, w) and (1 or b, embedding) -> (b, c', h', w')"""
        for layer in self:
            x = layer(x, embedding) if isinstance(layer, ResidualBlock) else layer(x)
        return x


def entry_dtype(stages: nn.ModuleList) -> torch.dtype:
    """The precision of a torso, which is that of its first convolution."""
    return next(stages.parameters()).dtype
