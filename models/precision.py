"""In which numbers a network computes: float32 throughout, or matrix products in half of the bits.

What decides is kept in float32 in every mode: the residual stream of the transformers, norms, softmax, the
nearest code, the heads, and the group norms of the slice networks.
"""

from __future__ import annotations

from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

from models.ctvit import CTViT
from models.dense import Dense, dense
from models.slice_classifier import SliceClassifier
from models.token_transformer import CosineAttention
from models.unet import UNet

Precision = Literal["float32", "bf16", "fp16"]
PRECISIONS: tuple[Precision, ...] = ("float32", "bf16", "fp16")
DTYPES: dict[Precision, torch.dtype] = {
    "float32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}


def default_precision(device: str) -> Precision:
    """What a device computes in unless told otherwise: a GPU in fp16, everything else in float32."""
    return "fp16" if device.startswith("cuda") else "float32"


NetworkT = TypeVar("NetworkT", bound=nn.Module)


def ready(network: NetworkT, precision: Precision) -> NetworkT:
    """A loaded network as it computes fastest in ``precision``; heads are the same in every precision."""
    if isinstance(network, CTViT | SliceClassifier | UNet):
        lower(network, precision)
    if isinstance(network, SliceClassifier | UNet):
        # As the inputs that they make of their slices: convolutions are faster so on every device.
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def lower(network: CTViT | SliceClassifier | UNet, precision: Precision) -> None:
    """Make a network compute its matrix products and convolutions in ``precision``.

    Processors multiply fp16 slowly or not at all. There the image encoder rounds to fp16 and multiplies in
    float32, which is what a GPU's matrix units do; it saves no time and serves to compare precisions. The
    slice networks stay in float32.
    """
    dtype = DTYPES[precision]
    if dtype is torch.float32:
        return
    emulated = dtype is torch.float16 and next(network.parameters()).device.type == "cpu"
    if isinstance(network, CTViT):
        _lower_linear(network, HalfProducts(dtype, emulated=emulated))
    elif not emulated:
        for block in network.torso:
            _lower_convolutions(block, dtype)


class HalfProducts:
    """Rounds what goes into a matrix product to half of the bits."""

    def __init__(self, dtype: torch.dtype, *, emulated: bool) -> None:
        self._dtype = dtype
        self._emulated = emulated

    def __call__(self, x: Tensor) -> Tensor:
        """``x`` in the reduced dtype, or rounded to it and in float32 again where it is emulated."""
        reduced = x.to(self._dtype)
        return reduced.float() if self._emulated else reduced


class HalfLinear(Dense):
    """A linear layer that multiplies in half of the bits and sums in float32; any dtype in, reduced out."""

    products: HalfProducts

    @classmethod
    def of(cls, layer: Dense, products: HalfProducts) -> HalfLinear:
        """The layer with its weights rounded."""
        with torch.device("meta"):
            half = cls(layer.in_features, layer.out_features, bias=layer.bias is not None)
        half.products = products
        half.weight = nn.Parameter(products(layer.weight), requires_grad=False)
        if layer.bias is not None:
            half.bias = nn.Parameter(products(layer.bias), requires_grad=False)
        return half

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_features) -> (..., out_features)"""
        return self.products(dense(self.products(x), self.weight, self.bias))


def _lower_linear(module: nn.Module, products: HalfProducts) -> None:
    """Every layer of the encoder that multiplies many tokens."""
    for name, child in module.named_children():
        if isinstance(child, Dense):
            module.add_module(name, HalfLinear.of(child, products))
        else:
            _lower_linear(child, products)
    if isinstance(module, CosineAttention):
        module.products = products


def _lower_convolutions(block: nn.Module, dtype: torch.dtype) -> None:
    for module in block.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d):
            module.to(dtype)
