"""Sizes from shapes: of the published networks and of the small ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from bundle_import.errors import ImportCode, ImportRefused
from bundle_import.sizes import patch_sizes, slice_classifier_config, tower_config, unet_config
from models.ctvit import CTViT
from models.published import PUBLISHED_SLICE_CLASSIFIER, PUBLISHED_TOWER, PUBLISHED_UNET, split_checkpoint
from models.slice_classifier import SliceClassifier, SliceClassifierConfig
from models.unet import UNet, UNetConfig
from tests.models.reference import config, key_list
from tests.models.reference import tower_config as small_config


def meta_state(build: type, sizes: object) -> dict[str, Tensor]:
    with torch.device("meta"):
        return build(sizes).state_dict()


def test_the_published_image_encoder(parity: Path) -> None:
    tower = split_checkpoint(key_list(parity, "ctclip_full")).states["tower"]
    assert patch_sizes(tower, 400) == (20, 10)
    assert tower_config(tower, (20, 10), 294_912, None) == PUBLISHED_TOWER


@pytest.mark.parametrize(("name", "sides"), [("ctvit_small", None), ("ctvit_small_rect", (60, 80))])
def test_small_image_encoders(parity: Path, name: str, sides: tuple[int, int] | None) -> None:
    tower = key_list(parity, name)
    expected = small_config(config(parity, name)["kwargs"])
    dim_image = expected.grid[0] * expected.grid[1] * expected.dim
    patch = patch_sizes(tower, tower["to_patch_emb_first_frame.1.weight"].shape[0])
    assert tower_config(tower, patch, dim_image, sides) == expected


def test_a_plane_that_is_not_square_must_be_told(parity: Path) -> None:
    tower = key_list(parity, "ctvit_small_rect")
    with pytest.raises(ImportRefused, match="--input-shape") as refused:
        tower_config(tower, (20, 10), 3 * 4 * 64, None)
    assert refused.value.code is ImportCode.SIZES_UNKNOWN


def test_other_patches_are_read_from_both_embeddings() -> None:
    sizes = replace(PUBLISHED_TOWER, patch_size=16, temporal_patch_size=6, image_size=(64, 64), dim=64)
    tower = meta_state(CTViT, sizes)
    patch = patch_sizes(tower, 256)
    assert patch == (16, 6)
    assert tower_config(tower, patch, 16 * 64, None) == sizes
    with pytest.raises(ImportRefused):
        patch_sizes(tower, 255)


def test_layers_that_are_absent_at_the_end_are_missed(parity: Path) -> None:
    tower = split_checkpoint(key_list(parity, "ctclip_full")).states["tower"]
    shorter = {key: value for key, value in tower.items() if "temporal_transformer.layers.3." not in key}
    assert tower_config(shorter, (20, 10), 294_912, None) == PUBLISHED_TOWER


@pytest.mark.parametrize(
    "sizes",
    [
        PUBLISHED_SLICE_CLASSIFIER,
        SliceClassifierConfig(32, 32, 1, (2,), (1, 2), 32),
        SliceClassifierConfig(96, 32, 1, (8, 16), (1, 1, 2, 2, 4), 32),
        SliceClassifierConfig(64, 32, 3, (4,), (1, 2, 3), 32),
    ],
    ids=["published", "small", "demonstration", "three blocks a level"],
)
def test_slice_classifiers(sizes: SliceClassifierConfig) -> None:
    state = meta_state(SliceClassifier, sizes)
    assert slice_classifier_config(state, sizes.num_head_channels) == sizes


def test_a_slice_classifier_of_two_readings_is_refused() -> None:
    # Four blocks of one width without attention: two levels of one block, or one level of three.
    state = meta_state(SliceClassifier, SliceClassifierConfig(32, 32, 1, (), (1, 1), 32))
    with pytest.raises(ImportRefused) as refused:
        slice_classifier_config(state, 32)
    assert refused.value.code is ImportCode.SIZES_UNKNOWN


@pytest.mark.parametrize(
    "sizes",
    [replace(PUBLISHED_UNET, attention_resolutions=()), UNetConfig(32, 32, 1, (2,), (1, 2), 3)],
    ids=["published", "small"],
)
def test_unets(sizes: UNetConfig) -> None:
    assert unet_config(meta_state(UNet, sizes), sizes.image_size) == sizes
