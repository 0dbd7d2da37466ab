"""The class-conditional diffusion UNet: predicts the noise in an axial slice of the class normal or abnormal.

ADM UNet (Dhariwal and Nichol, 2021) with learned variance: channel 0 of the output is the noise, 1 the
variance.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.residual_blocks import (
    AttentionBlock,
    GroupNorm32,
    ResidualBlock,
    Stage,
    entry_dtype,
    time_mlp,
    timestep_embedding,
    zeroed,
)


@dataclass(frozen=True)
class UNetConfig:
    """Sizes of the UNet.

    ``image_size`` is the side of the square slice in pixels; ``attention_resolutions`` are downsampling
    factors (1, 2, 4 ...) at which there is attention beside that of the middle block; all channel counts are
    multiples of 32.
    """

    image_size: int
    model_channels: int
    num_res_blocks: int
    attention_resolutions: tuple[int, ...]
    channel_mult: tuple[int, ...]
    num_classes: int = 2
    num_heads: int = 1


class Downsample(nn.Module):
    """Halves the resolution by a convolution of stride 2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, h, w) -> (b, c, h/2, w/2)"""
        halved: Tensor = self.op(x)
        return halved


class Upsample(nn.Module):
    """Doubles the resolution by repetition and a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, h, w) -> (b, c, 2h, 2w)"""
        doubled: Tensor = self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))
        return doubled


class UNet(nn.Module):
    """Residual blocks down, a middle with attention, and up again over the stored feature maps."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        embedding = config.model_channels * 4
        self.time_embed = time_mlp(config.model_channels)
        self.label_emb = nn.Embedding(config.num_classes, embedding)
        self.input_blocks, skips = self._descent(embedding)
        channels = skips[-1]
        self.middle_block = Stage(
            [
                ResidualBlock(channels, embedding, channels),
                AttentionBlock(channels, config.num_heads),
                ResidualBlock(channels, embedding, channels),
            ]
        )
        self.output_blocks, channels = self._ascent(embedding, skips)
        self.out = nn.Sequential(
            GroupNorm32(channels), nn.SiLU(inplace=True), zeroed(nn.Conv2d(channels, 2, 3, padding=1))
        )

    def _block(self, channels: int, embedding: int, width: int, factor: int) -> list[nn.Module]:
        layers: list[nn.Module] = [ResidualBlock(channels, embedding, width)]
        if factor in self.config.attention_resolutions:
            layers.append(AttentionBlock(width, self.config.num_heads))
        return layers

    def _descent(self, embedding: int) -> tuple[nn.ModuleList, list[int]]:
        """The input blocks and the channels of each one's output, which the ascent takes up again."""
        config = self.config
        channels = config.channel_mult[0] * config.model_channels
        stages, skips = [Stage([nn.Conv2d(1, channels, 3, padding=1)])], [channels]
        for level, multiple in enumerate(config.channel_mult):
            if level > 0:
                stages.append(Stage([Downsample(channels)]))
                skips.append(channels)
            for _ in range(config.num_res_blocks):
                width = multiple * config.model_channels
                stages.append(Stage(self._block(channels, embedding, width, 2**level)))
                skips.append(width)
                channels = width
        return nn.ModuleList(stages), skips

    def _ascent(self, embedding: int, skips: list[int]) -> tuple[nn.ModuleList, int]:
        """The output blocks and the channels of the last."""
        config = self.config
        stages, channels, remaining = [], skips[-1], list(skips)
        for level, multiple in reversed(list(enumerate(config.channel_mult))):
            width = multiple * config.model_channels
            for block in range(config.num_res_blocks + 1):
                layers = self._block(channels + remaining.pop(), embedding, width, 2**level)
                channels = width
                if level > 0 and block == config.num_res_blocks:
                    layers.append(Upsample(channels))
                stages.append(Stage(layers))
        return nn.ModuleList(stages), channels

    @property
    def torso(self) -> tuple[nn.Module, ...]:
        """What may compute in reduced precision."""
        return self.input_blocks, self.middle_block, self.output_blocks

    def forward(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        """Noise and variance (b, 2, s, s) of slices (b, 1, s, s) at timesteps ``t``, classes ``y``.

        ``t`` and ``y`` (1,) hold for the whole batch and are faster than the same (b,).
        """
        x = x.to(entry_dtype(self.input_blocks), memory_format=torch.channels_last)
        embedding = self.time_embed(timestep_embedding(t, self.config.model_channels)) + self.label_emb(y)
        stored = []
        for stage in self.input_blocks:
            x = stage(x, embedding)
            stored.append(x)
        x = self.middle_block(x, embedding)
        for stage in self.output_blocks:
            x = stage(torch.cat([x, stored.pop()], dim=1), embedding)
        out: Tensor = self.out(x.float())
        return out
