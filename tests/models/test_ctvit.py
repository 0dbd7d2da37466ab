"""The image encoder against the original's, step by step, because quantisation hides mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from models.ctvit import CTViT, CTViTConfig
from models.published import split_checkpoint
from tests.models.reference import assert_close, config, filled, tensors, tower_config

SMALL = CTViTConfig(
    dim=24,
    codebook_size=16,
    image_size=(32, 48),
    patch_size=16,
    temporal_patch_size=8,
    spatial_depth=1,
    temporal_depth=1,
    dim_head=8,
    heads=3,
)


def encoder(parity: Path, name: str) -> tuple[CTViT, dict[str, Tensor]]:
    weights = {f"visual_transformer.{k}": v for k, v in tensors(parity, f"{name}/weights").items()}
    # The image encoder's own checkpoint is the visual part of the CT-CLIP layout.
    parts = split_checkpoint({**weights, "to_visual_latent.weight": torch.empty(1, 1)})
    network = filled(CTViT(tower_config(config(parity, name)["kwargs"])), "tower", parts.states["tower"])
    return network, tensors(parity, f"{name}/io")


@pytest.mark.parametrize("name", ["ctvit_small", "ctvit_small_rect"])
@torch.no_grad()
def test_every_stage_is_the_originals(parity: Path, name: str) -> None:
    network, expected = encoder(parity, name)
    stages: dict[str, Tensor] = {}
    for stage, module in (
        ("patch_emb", network.to_patch_emb),
        ("attn_bias", network.spatial_rel_pos_bias),
        ("after_spatial", network.enc_spatial_transformer),
        ("after_temporal", network.enc_temporal_transformer),
    ):
        module.register_forward_hook(lambda *call, stage=stage: stages.update({stage: call[-1]}))
    tokens = network.encode_continuous(expected["video"])
    codes, indices = network.quantise(tokens)

    for stage, value in stages.items():
        assert_close(value, expected[stage])
    assert set(stages) == {"patch_emb", "attn_bias", "after_spatial", "after_temporal"}
    assert_close(tokens.flatten(1, 3), expected["pre_vq"])
    assert torch.equal(indices.flatten(1), expected["indices"])
    assert_close(codes, expected["encoded"])
    assert torch.equal(network(expected["video"]), codes)


@torch.no_grad()
def test_a_volume_gets_the_same_tokens_alone_and_in_a_batch(parity: Path) -> None:
    network, expected = encoder(parity, "ctvit_small_rect")
    together = network.encode_continuous(expected["video"])
    alone = torch.cat([network.encode_continuous(video[None]) for video in expected["video"]])
    assert_close(alone, together, tolerance=1e-5)
    assert torch.equal(network.quantise(alone)[1], network.quantise(together)[1])


@torch.no_grad()
def test_codes_are_read_out_as_stored_and_chosen_by_direction() -> None:
    network = CTViT(SMALL)
    network.vq.codes.mul_(torch.linspace(0.5, 3, SMALL.codebook_size)[:, None])
    chosen = torch.tensor([[3, 7], [15, 0]])
    codes, indices = network.quantise(40 * network.vq.codes[chosen])
    assert torch.equal(indices, chosen)
    assert torch.equal(codes, network.vq.codes[chosen])


@torch.no_grad()
def test_more_tokens_than_one_part_of_the_search() -> None:
    network = CTViT(SMALL)
    tokens = torch.randn(5000, SMALL.dim)
    directions = torch.nn.functional.normalize(network.vq.codes, dim=-1)
    assert torch.equal(network.quantise(tokens)[1], (tokens @ directions.T).argmax(dim=-1))


def test_training_reaches_every_parameter() -> None:
    network = CTViT(SMALL)
    network.encode_continuous(torch.randn(2, 1, 24, 32, 48)).square().sum().backward()
    without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []


def test_a_plane_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(48, 32\)"):
        CTViT(SMALL).encode_continuous(torch.zeros(1, 1, 8, 48, 32))


def test_a_size_that_no_patch_fits_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple"):
        CTViTConfig(**{**vars(SMALL), "image_size": (32, 40)})
