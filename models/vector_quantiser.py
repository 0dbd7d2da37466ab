"""The codebook of the image encoder: every token becomes the code of greatest cosine similarity."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.dense import dense

# 2048 tokens against 8192 codes are 64 MiB of similarities; all 13,824 tokens at once would be 430 MiB.
TOKENS_AT_ONCE = 2048


class Codebook(nn.Module):
    """The codes, (1, codebook_size, dim); a buffer, as they are learned by moving averages."""

    def __init__(self, dim: int, size: int) -> None:
        super().__init__()
        self.embed: Tensor
        self.register_buffer("embed", F.normalize(torch.randn(1, size, dim), dim=-1))


class VectorQuantiser(nn.Module):
    """Nearest code by cosine; what is read out is the code as stored, which need not have length 1."""

    def __init__(self, dim: int, size: int) -> None:
        super().__init__()
        self._codebook = Codebook(dim, size)

    @property
    def codes(self) -> Tensor:
        """The codes, (codebook_size, dim); writing into it changes the codebook."""
        return self._codebook.embed[0]

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Codes (..., dim) and indices (...), int64, of tokens (..., dim). No gradient reaches the tokens."""
        directions = F.normalize(self.codes, dim=-1)
        flat = F.normalize(tokens.detach().reshape(-1, tokens.shape[-1]), dim=-1)
        parts = torch.split(flat, TOKENS_AT_ONCE)
        indices = torch.cat([dense(part, directions).argmax(dim=-1) for part in parts])
        indices = indices.reshape(tokens.shape[:-1])
        return F.embedding(indices, self.codes), indices
