"""In which numbers a network computes: float32 throughout, or matrix products in half of the bits."""

from __future__ import annotations

from typing import Literal

Precision = Literal["float32", "bf16", "fp16"]
PRECISIONS: tuple[Precision, ...] = ("float32", "bf16", "fp16")


def default_precision(device: str) -> Precision:
    """What a device computes in unless told otherwise: a GPU in fp16, everything else in float32."""
    return "fp16" if device.startswith("cuda") else "float32"
