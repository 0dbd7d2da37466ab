"""The two trained classification heads over the image latent of CT-CLIP."""

from __future__ import annotations

from torch import Tensor, nn

from models.ctvit import pooled_tokens, unit


class SupervisedHead(nn.Module):
    """LayerNorm over the latent, then a linear classifier: the supervised member of the original ensemble."""

    def __init__(self, dim_image: int, dim_latent: int, classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.to_visual_latent = nn.Linear(dim_image, dim_latent, bias=False)
        self.pre_head_norm = nn.LayerNorm(dim_latent)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(dim_latent, classes))

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (b, t, h, w, d) -> logits (b, classes); the probability is their sigmoid."""
        latents = unit(self.to_visual_latent(pooled_tokens(tokens)))
        logits: Tensor = self.classifier(self.pre_head_norm(latents))
        return logits


class ClassFineHead(nn.Module):
    """ReLU over the latent, then a linear classifier: the published CT_LiPro ("ClassFine") head."""

    def __init__(self, dim_image: int, dim_latent: int, classes: int) -> None:
        super().__init__()
        self.to_visual_latent = nn.Linear(dim_image, dim_latent, bias=False)
        self.classifier = nn.Linear(dim_latent, classes)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (b, t, h, w, d) -> logits (b, classes); the probability is their sigmoid."""
        latents = unit(self.to_visual_latent(pooled_tokens(tokens)))
        logits: Tensor = self.classifier(latents.relu())
        return logits
