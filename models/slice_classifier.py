"""The slice classifier of the diffusion member: an axial slice in, normal against abnormal out.

The encoder half of the ADM UNet with an attention pool (Dhariwal and Nichol, 2021), trained on noised slices,
so that its gradient can guide the diffusion as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from models.residual_blocks import (
    AttentionBlock,
    GroupNorm32,
    ResidualBlock,
    Stage,
    entry_dtype,
    split_heads,
    time_mlp,
    timestep_embedding,
)


@dataclass(frozen=True)
class SliceClassifierConfig:
    """Sizes of the slice classifier.

    ``image_size`` is the side of the square slice in pixels; ``attention_resolutions`` are downsampling
    factors (1, 2, 4 ...) at which there is attention; all channel counts are multiples of 32 and of
    ``num_head_channels``.
    """

    image_size: int
    model_channels: int
    num_res_blocks: int
    attention_resolutions: tuple[int, ...]
    channel_mult: tuple[int, ...]
    num_head_channels: int


class AttentionPool(nn.Module):
    """The mean of a feature map attends to the map and to itself."""

    def __init__(self, side: int, channels: int, head_channels: int, out_channels: int) -> None:
        super().__init__()
        self.heads = channels // head_channels
        self.positional_embedding = nn.Parameter(torch.randn(channels, side * side + 1) / channels**0.5)
        self.qkv_proj = nn.Conv1d(channels, 3 * channels, 1)
        self.c_proj = nn.Conv1d(channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, side, side) -> (b, out_channels)"""
        positions = x.flatten(2)
        positions = torch.cat([positions.mean(dim=-1, keepdim=True), positions], dim=-1)
        positions = positions + self.positional_embedding.to(x.dtype)
        q, k, v = split_heads(self.qkv_proj(positions), self.heads, "part first")
        # Only the mean token's answer is read, so only its query is asked.
        pooled = F.scaled_dot_product_attention(q[:, :, :1], k, v)
        answer: Tensor = self.c_proj(rearrange(pooled, "b h n d -> b (h d) n"))
        return answer[:, :, 0]


class SliceClassifier(nn.Module):
    """Residual blocks and attention down to an attention pool; class 0 is normal, class 1 abnormal."""

    CLASSES = 2

    def __init__(self, config: SliceClassifierConfig) -> None:
        super().__init__()
        self.config = config
        embedding = config.model_channels * 4
        channels = config.channel_mult[0] * config.model_channels
        self.time_embed = time_mlp(config.model_channels)

        def attention(width: int) -> AttentionBlock:
            return AttentionBlock(width, heads=width // config.num_head_channels)

        stages = [Stage([nn.Conv2d(1, channels, 3, padding=1)])]
        factor = 1
        for level, multiple in enumerate(config.channel_mult):
            if level > 0:
                stages.append(Stage([ResidualBlock(channels, embedding, channels, down=True)]))
                factor *= 2
            for _ in range(config.num_res_blocks):
                width = multiple * config.model_channels
                layers: list[nn.Module] = [ResidualBlock(channels, embedding, width)]
                if factor in config.attention_resolutions:
                    layers.append(attention(width))
                stages.append(Stage(layers))
                channels = width
        self.input_blocks = nn.ModuleList(stages)
        self.middle_block = Stage(
            [
                ResidualBlock(channels, embedding, channels),
                attention(channels),
                ResidualBlock(channels, embedding, channels),
            ]
        )
        side = config.image_size // factor
        self.out = nn.Sequential(
            GroupNorm32(channels),
            nn.SiLU(inplace=True),
            AttentionPool(side, channels, config.num_head_channels, self.CLASSES),
        )

    @property
    def torso(self) -> tuple[nn.Module, ...]:
        """What may compute in reduced precision."""
        return self.input_blocks, self.middle_block

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Logits (b, 2) of slices (b, 1, s, s), HU / 1000, noised to timesteps ``t``; 0 is no noise.

        ``t`` (1,) holds for the whole batch and is faster than the same (b,).
        """
        x = x.to(entry_dtype(self.input_blocks), memory_format=torch.channels_last)
        embedding = self.time_embed(timestep_embedding(t, self.config.model_channels))
        for stage in self.input_blocks:
            x = stage(x, embedding)
        logits: Tensor = self.out(self.middle_block(x, embedding).float())
        return logits
