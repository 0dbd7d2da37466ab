"""float32 that is float32: a GPU's units must not round it to fewer bits on the way."""

from __future__ import annotations

import torch


def compute_exactly_in_float32() -> None:
    """Switch TF32 off in the whole process, and choose convolutions that give the same bits every time.

    Torch keeps these settings for all networks of the process. Whoever reads them uses the same attributes:
    the older `torch.backends.cudnn.allow_tf32` refuses to be read beside them.
    """
    torch.backends.fp32_precision = "ieee"  # type: ignore[attr-defined]
    # Each kind by itself too: what somebody set for one of them would win over the general setting.
    torch.backends.cuda.matmul.fp32_precision = "ieee"
    torch.backends.cudnn.conv.fp32_precision = "ieee"  # type: ignore[attr-defined]
    torch.backends.cudnn.rnn.fp32_precision = "ieee"  # type: ignore[attr-defined]
    torch.backends.cudnn.deterministic = True
    # Trying all kernels and taking the fastest may choose others in the next process.
    torch.backends.cudnn.benchmark = False
