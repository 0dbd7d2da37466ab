"""Reduced precision changes little, changes what it should, and leaves float32 what must be."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from models.ctvit import CTViT
from models.ddim import reconstruct
from models.precision import Precision, default_precision, lower, ready
from tests.models.reference import small_slice_classifier, small_tower, small_unet, tensors

REDUCED: list[Precision] = ["bf16", "fp16"]


@pytest.fixture(scope="module")
def tower(parity: Path) -> CTViT:
    return small_tower(parity)


@pytest.fixture(scope="module")
def video(tower: CTViT) -> Tensor:
    height, width = tower.config.image_size
    shape = (1, 1, 4 * tower.config.temporal_patch_size, height, width)
    return torch.rand(shape, generator=torch.Generator().manual_seed(5)) * 2 - 1


def lowered(network: nn.Module, precision: Precision) -> nn.Module:
    return ready(copy.deepcopy(network), precision)


def test_a_gpu_computes_in_fp16_and_a_processor_in_float32_unless_told_otherwise() -> None:
    assert [default_precision(device) for device in ("cuda", "cuda:1", "cpu")] == ["fp16", "fp16", "float32"]


@pytest.mark.parametrize("precision", REDUCED)
@torch.inference_mode()
def test_tokens_move_by_what_the_fewer_bits_cost(tower: CTViT, video: Tensor, precision: Precision) -> None:
    exact = tower.encode_continuous(video)
    reduced = lowered(tower, precision).encode_continuous(video)
    change = ((reduced - exact).abs().max() / exact.abs().max()).item()
    bound = {"bf16": 0.05, "fp16": 0.005}[precision]
    assert bound / 100 < change < bound, "neither more than rounding explains nor nothing at all"


@pytest.mark.parametrize("precision", REDUCED)
@torch.inference_mode()
def test_residual_stream_and_codes_stay_float32(tower: CTViT, video: Tensor, precision: Precision) -> None:
    network = lowered(tower, precision)
    tokens = network.encode_continuous(video)
    codes, _ = network.quantise(tokens)
    assert tokens.dtype == codes.dtype == torch.float32
    stored = {tuple(row) for row in tower.vq.codes.tolist()}
    assert all(tuple(code) in stored for code in codes.flatten(0, -2)[:50].tolist())


@torch.inference_mode()
def test_fp16_on_a_processor_is_what_rounding_to_fp16_gives(tower: CTViT, video: Tensor) -> None:
    network = lowered(tower, "fp16")
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    weight = network.get_parameter("enc_spatial_transformer.layers.0.1.to_q.weight")
    original = tower.get_parameter("enc_spatial_transformer.layers.0.1.to_q.weight")
    assert torch.equal(weight, original.half().float())
    assert not torch.equal(weight, original)


def test_lowering_keeps_every_name_of_the_checkpoint(tower: CTViT) -> None:
    assert list(lowered(tower, "bf16").state_dict()) == list(tower.state_dict())


def test_float32_changes_no_parameter(tower: CTViT) -> None:
    network = copy.deepcopy(tower)
    lower(network, "float32")
    pairs = zip(network.parameters(), tower.parameters(), strict=True)
    assert all(torch.equal(ours, theirs) for ours, theirs in pairs)


@torch.inference_mode()
def test_the_slice_classifier_in_bf16(parity: Path) -> None:
    network = small_slice_classifier(parity)
    slices = tensors(parity, "diffusion_classifier_small/io")["x"]
    t = torch.zeros(1)
    change = (lowered(network, "bf16")(slices, t) - network(slices, t)).abs().max().item()
    assert 0 < change < 0.05 * network(slices, t).abs().max().item()


def test_a_guided_reconstruction_in_bf16_stays_near_that_in_float32(parity: Path) -> None:
    unet, classifier = small_unet(parity), small_slice_classifier(parity)
    size = unet.config.image_size
    generator = torch.Generator().manual_seed(3)
    slices = torch.rand((2, 1, size, size), generator=generator) * 2 - 1
    noise = torch.randn((2, 1, size, size), generator=generator)

    def made(precision: Precision) -> Tensor:
        networks = lowered(unet, precision), lowered(classifier, precision)
        return reconstruct(*networks, slices, noise, steps=5, schedule="strided", guidance_scale=1.0)

    exact, reduced = made("float32"), made("bf16")
    assert reduced.dtype == torch.float32
    assert 0 < (reduced - exact).abs().mean().item() < 0.02
