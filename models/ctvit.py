"""The image encoder of CT-CLIP: a volume in, one quantised token a patch out.

Hamamci et al., "A foundation model utilizing chest CT volumes and radiology reports" (CT-CLIP, 2024), built
on the encoder of GenerateCT (Hamamci et al., 2023) and of Phenaki (C-ViViT, Villegas et al., 2022).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from einops.layers.torch import Rearrange
from torch import Tensor, nn

from models.dense import Dense
from models.token_transformer import TokenTransformer
from models.vector_quantiser import VectorQuantiser


@dataclass(frozen=True)
class CTViTConfig:
    """Sizes of the image encoder.

    ``image_size`` is (height, width) of a plane of the encoder input in voxels, a multiple of ``patch_size``;
    ``temporal_patch_size`` is the number of planes in a patch.
    """

    dim: int
    codebook_size: int
    image_size: tuple[int, int]
    patch_size: int
    temporal_patch_size: int
    spatial_depth: int
    temporal_depth: int
    dim_head: int
    heads: int

    def __post_init__(self) -> None:
        if any(side % self.patch_size for side in self.image_size):
            raise ValueError(
                f"image size {self.image_size} is not a multiple of the patch size {self.patch_size}"
            )

    @property
    def grid(self) -> tuple[int, int]:
        """Patches in a plane, (h, w)."""
        return self.image_size[0] // self.patch_size, self.image_size[1] // self.patch_size


class SpatialPositionBias(nn.Module):
    """Attention bias that a small network derives from the offset of two patches of a plane."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.net = nn.ModuleList(
            [
                nn.Sequential(nn.Linear(2, dim), nn.LeakyReLU(0.1)),
                nn.Sequential(nn.Linear(dim, dim), nn.LeakyReLU(0.1)),
                nn.Linear(dim, heads),
            ]
        )

    def forward(self, height: int, width: int) -> Tensor:
        """Bias (heads, h*w, h*w); entry [.., i, j] belongs to the offset position_i - position_j."""
        weight = next(self.parameters())
        device = weight.device
        rows = torch.arange(1 - height, height, device=device)
        columns = torch.arange(1 - width, width, device=device)
        offsets = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), dim=-1).to(weight.dtype)
        features = offsets.sign() * (offsets.abs() + 1).log()
        for layer in self.net:
            features = layer(features)
        # Pairs of patches share (2h-1)(2w-1) offsets: the network runs once an offset, not once a pair.
        y = torch.arange(height, device=device).repeat_interleave(width)
        x = torch.arange(width, device=device).repeat(height)
        row_index = y[:, None] - y[None, :] + height - 1
        column_index = x[:, None] - x[None, :] + width - 1
        return features[row_index, column_index].permute(2, 0, 1)


class ResidualNorm(nn.LayerNorm):
    """The norm that begins the residual stream, which is float32 whatever the products are."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last axis of (..., dim)."""
        return super().forward(x.float())


class CTViT(nn.Module):
    """Factorised spatial and temporal transformer over patches of a CT volume, with a cosine codebook."""

    def __init__(self, config: CTViTConfig) -> None:
        super().__init__()
        self.config = config
        patch, planes = config.patch_size, config.temporal_patch_size
        patch_values = patch * patch * planes
        self.spatial_rel_pos_bias = SpatialPositionBias(config.dim, config.heads)
        self.to_patch_emb = nn.Sequential(
            Rearrange("b c (t pt) (h p1) (w p2) -> b t h w (c pt p1 p2)", p1=patch, p2=patch, pt=planes),
            nn.LayerNorm(patch_values),
            Dense(patch_values, config.dim),
            ResidualNorm(config.dim),
        )
        sizes = {"dim": config.dim, "dim_head": config.dim_head, "heads": config.heads}
        self.enc_spatial_transformer = TokenTransformer(depth=config.spatial_depth, **sizes)
        self.enc_temporal_transformer = TokenTransformer(depth=config.temporal_depth, **sizes)
        self.vq = VectorQuantiser(config.dim, config.codebook_size)

    def encode_continuous(self, video: Tensor) -> Tensor:
        """Tokens before quantisation.

        Parameters
        ----------
        video : Tensor
            (b, 1, T, H, W), HU / 1000; T a multiple of ``temporal_patch_size``, (H, W) the image size.

        Returns
        -------
        Tensor
            (b, t, h, w, dim)
        """
        if tuple(video.shape[-2:]) != self.config.image_size:
            raise ValueError(
                f"planes are {tuple(video.shape[-2:])}, the encoder takes {self.config.image_size}"
            )
        tokens: Tensor = self.to_patch_emb(video)
        b, t, h, w, _ = tokens.shape
        tokens = self.enc_spatial_transformer(
            rearrange(tokens, "b t h w d -> (b t) (h w) d"), (b, t, h, w), self.spatial_rel_pos_bias(h, w)
        )
        tokens = rearrange(tokens, "(b t) (h w) d -> (b h w) t d", b=b, h=h)
        # The published weights were trained with the position convolution reading these (b h w) t tokens as
        # if they lay (b, t, h, w) in memory. That scrambles positions; right answers need the same
        # scrambling.
        tokens = self.enc_temporal_transformer(tokens, (b, t, h, w))
        return rearrange(tokens, "(b h w) t d -> b t h w d", b=b, h=h)

    def quantise(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """The code nearest to every token (..., dim): codes (..., dim) and indices (...), int64."""
        codes, indices = self.vq(tokens)
        return codes, indices

    def forward(self, video: Tensor) -> Tensor:
        """Quantised tokens (b, t, h, w, dim) of a volume (b, 1, T, H, W)."""
        return self.quantise(self.encode_continuous(video))[0]


def pooled_tokens(tokens: Tensor) -> Tensor:
    """Mean over the planes as one vector, which every image head projects: (b, t, h, w, d) -> (b, h*w*d)."""
    return tokens.mean(dim=1).flatten(1)


def unit(vectors: Tensor) -> Tensor:
    """Vectors (..., d) scaled to length 1."""
    return F.normalize(vectors, dim=-1)
