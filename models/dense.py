"""Linear layers over thousands of rows, through the fastest matrix product that the processor has."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_MANY_ROWS = 512


def dense(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x`` (..., k) times ``weight`` (n, k) transposed, plus ``bias`` (n,) -> (..., n)."""
    rows = x.numel() // x.shape[-1]
    if x.device.type != "cpu" or x.dtype != torch.float32 or rows < _MANY_ROWS:
        return F.linear(x, weight, bias)
    # In float32 torch multiplies matrices with MKL, which uses half the width of AMD's vector units, and
    # convolves with oneDNN, which uses all of it: as a convolution of size 1 over an image of one row the
    # same product takes half the time, and as long as before on Intel's processors.
    image = x.reshape(1, 1, rows, -1).contiguous().permute(0, 3, 1, 2)
    product = F.conv2d(image, weight[:, :, None, None], bias)
    return product.permute(0, 2, 3, 1).reshape(*x.shape[:-1], -1)


class Dense(nn.Linear):
    """A linear layer whose product is :func:`dense`."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_features) -> (..., out_features)"""
        return dense(x, self.weight, self.bias)
