"""Published checkpoints: every key has a place, is known as unused, or is reported; none may be missing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from models.published import MissingTensorsError, fill, split_checkpoint
from models.supervised import SupervisedHead
from tests.models.reference import (
    ctclip_parts,
    full_size_network,
    key_list,
    small_supervised_checkpoint,
    tensors,
)


@pytest.mark.parametrize(
    ("name", "layout", "parts"),
    [
        ("ctclip_full", "ctclip", {"tower", "text_tower", "ctclip"}),
        ("supervised_full", "supervised", {"tower", "text_tower", "supervised"}),
        ("classfine_full", "classfine", {"tower", "text_tower", "classfine"}),
        ("diffusion_classifier_full", "slice_classifier", {"slice_classifier"}),
        ("diffusion_unet_full", "unet", {"unet"}),
    ],
)
def test_full_size_checkpoints_fill_the_full_size_networks(
    parity: Path, name: str, layout: str, parts: set[str]
) -> None:
    checkpoint = key_list(parity, name)
    split = split_checkpoint(checkpoint)
    assert split.layout == layout
    assert set(split.states) == parts
    assert split.unexpected == ()
    placed = 0
    for part, state in split.states.items():
        assert fill(full_size_network(part, parity), part, state) == ()
        placed += len(state)
    assert placed + len(split.unused) == len(checkpoint)


def test_what_is_unused_is_known_by_name(parity: Path) -> None:
    unused = set(ctclip_parts(parity).unused)
    assert {"to_visual_latent_extra.weight", "text_transformer.pooler.dense.bias"} <= unused
    assert "visual_transformer.enc_temporal_transformer.layers.1.1.null_kv" in unused
    # 6 first-frame, 4 pixels, 2 codebook, 4 layers x (2 context_norm + null_kv), 2 extra latents, 2 pooler
    assert len(unused) == 6 + 4 + 2 + 4 * 3 + 2 + 2


def test_position_ids_are_unused_and_discriminator_keys_are_reported(parity: Path) -> None:
    checkpoint = tensors(parity, "ctclip_small/weights") | {
        "text_transformer.embeddings.position_ids": torch.arange(64)[None],
        "visual_transformer.discr.blocks.0.net.0.weight": torch.zeros(3),
        "visual_transformer.vgg.features.0.weight": torch.zeros(3),
    }
    split = split_checkpoint(checkpoint)
    assert "text_transformer.embeddings.position_ids" in split.unused
    assert split.unexpected == (
        "visual_transformer.discr.blocks.0.net.0.weight",
        "visual_transformer.vgg.features.0.weight",
    )
    assert split.states["tower"].keys() == ctclip_parts(parity).states["tower"].keys()


def test_a_training_checkpoint_is_unwrapped_with_its_labels(parity: Path) -> None:
    state = small_supervised_checkpoint(parity)
    wrapped = {"model_state_dict": state, "epoch": 3, "target_pathologies": ["cancer", "covid"]}
    split = split_checkpoint(wrapped)
    assert split.labels == ("cancer", "covid")
    assert split.states["supervised"]["classifier.1.weight"].shape == (15, 512)
    assert "ct_clip.temperature" in split.unused


@pytest.mark.parametrize("lost", ["to_patch_emb.2.weight", "enc_temporal_transformer.layers.1.3.4.weight"])
def test_a_missing_tensor_is_refused_by_name(parity: Path, lost: str) -> None:
    state = dict(split_checkpoint(key_list(parity, "ctclip_full")).states["tower"])
    del state[lost]
    with pytest.raises(MissingTensorsError, match=lost) as refusal:
        fill(full_size_network("tower", parity), "tower", state)
    assert refusal.value.keys == (lost,)


def test_a_tensor_of_another_shape_is_refused_by_name_and_changes_nothing() -> None:
    head = SupervisedHead(8, 4, 3)
    before = {key: value.clone() for key, value in head.state_dict().items()}
    state = {key: torch.zeros_like(value) for key, value in before.items()}
    state["classifier.1.weight"] = torch.zeros(5, 4)
    with pytest.raises(MissingTensorsError, match=r"classifier\.1\.weight"):
        fill(head, "supervised", state)
    assert all(torch.equal(value, before[key]) for key, value in head.state_dict().items())


def test_a_wrong_prefix_leaves_no_random_weights_behind(parity: Path) -> None:
    wrong = {f"module.{key}": value for key, value in tensors(parity, "ctclip_small/weights").items()}
    with pytest.raises(ValueError, match="no known layout"):
        split_checkpoint(wrong)
