"""The image side of CT-CLIP: tokens to an image latent, and the latent against pairs of text latents."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.ctvit import pooled_tokens, unit


class CTCLIPHead(nn.Module):
    """Projects the encoder's tokens and compares them with the prompts of each finding."""

    def __init__(self, dim_image: int, dim_latent: int) -> None:
        """``dim_image`` is h * w * dim of the encoder's token grid."""
        super().__init__()
        self.to_visual_latent = nn.Linear(dim_image, dim_latent, bias=False)
        self.temperature = nn.Parameter(torch.tensor(1.0))

    def image_latents(self, tokens: Tensor) -> Tensor:
        """Tokens (b, t, h, w, d) -> latents (b, dim_latent) of length 1."""
        return unit(self.to_visual_latent(pooled_tokens(tokens)))

    def logits(self, image_latents: Tensor, text_latents: Tensor) -> Tensor:
        """Latents (b, d) against text latents (n, 2, d) of length 1, [present, not present] -> (b, n, 2)."""
        return torch.einsum("bd,nkd->bnk", image_latents, text_latents) * self.temperature.exp()

    def forward(self, tokens: Tensor, text_latents: Tensor) -> Tensor:
        """Probability (b, n) that each prompt's finding is present."""
        return self.logits(self.image_latents(tokens), text_latents).softmax(dim=-1)[..., 0]
