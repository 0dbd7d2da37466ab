"""The full-size networks against the original's answers; the reference's own recipe makes the checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from models.published import PublishedParts, split_checkpoint
from tests.models.reference import (
    assert_close,
    filled,
    full_checkpoint,
    full_recipe,
    full_size_network,
    tensors,
)
from tests.torch_threads import torch_threads

pytestmark = pytest.mark.full_size

FLIPS = 5  # of 13,824 codes: the closest margin is 6e-8
Checkpoint = Callable[[str], PublishedParts]


@pytest.fixture(scope="module", autouse=True)
def two_threads() -> Iterator[None]:
    with torch_threads(2):
        yield


@pytest.fixture(scope="module")
def recipe(parity: Path):
    return full_recipe(parity)


@pytest.fixture(scope="module")
def checkpoint(parity: Path) -> Checkpoint:
    """A full-size checkpoint taken apart; a gigabyte, so each test drops its own."""

    def make(name: str, without: str = "never") -> PublishedParts:
        return split_checkpoint(full_checkpoint(parity, name, without))

    return make


@pytest.fixture(scope="module")
def video(recipe) -> Tensor:
    return torch.from_numpy(recipe.volume())[None, None]


@pytest.fixture(scope="module")
def expected(parity: Path) -> dict[str, Tensor]:
    return tensors(parity, "full_expected_seed0")


@torch.no_grad()
def test_ctclip(parity: Path, checkpoint, video: Tensor, expected: dict[str, Tensor]) -> None:
    parts = checkpoint("ctclip")
    tower, head = (
        filled(full_size_network(part, parity), part, parts.states[part]) for part in ("tower", "ctclip")
    )
    # BERT has buffers that no checkpoint holds: they must be made on the CPU.
    text_tower = filled(
        full_size_network("text_tower", parity, "cpu"), "text_tower", parts.states["text_tower"]
    )
    ids = expected["input_ids"]
    text = text_tower(ids, torch.ones_like(ids))
    assert_close(text, expected["text_latents"])
    assert_close(tower.spatial_rel_pos_bias(24, 24)[:, 0], expected["attn_bias_row0"])

    tokens = tower.encode_continuous(video)
    assert_close(tokens.flatten(0, 3)[expected["pre_vq_rows"]], expected["pre_vq"])
    codes, indices = tower.quantise(tokens)
    assert (indices.flatten() != expected["indices"]).sum() <= FLIPS

    # Behind the codebook the original's own codes, so that a flipped one cannot hide or excuse a difference.
    codes = tower.vq.codes[expected["indices"].long()].view_as(codes)
    image = head.image_latents(codes)
    assert_close(image, expected["image_latents"])
    assert_close(head.logits(image, text[None])[0, 0], expected["logits"])
    assert_close(head(codes, text[None])[0], expected["prob_present"])


@pytest.mark.parametrize("name", ["supervised", "classfine"])
@torch.no_grad()
def test_trained_heads(
    parity: Path, checkpoint, video: Tensor, expected: dict[str, Tensor], name: str
) -> None:
    parts = checkpoint(name, without="text_")
    tower = filled(full_size_network("tower", parity), "tower", parts.states["tower"])
    head = filled(full_size_network(name, parity), name, parts.states[name])
    assert_close(head(tower(video)), expected[f"{name}_logits"])


@torch.no_grad()
def test_slice_classifier(parity: Path, checkpoint, recipe, expected: dict[str, Tensor]) -> None:
    state = checkpoint("diffusion_classifier").states["slice_classifier"]
    network = filled(full_size_network("slice_classifier", parity), "slice_classifier", state)
    slices = torch.from_numpy(recipe.slices())
    assert_close(network(slices, torch.zeros(2)), expected["slice_classifier_logits"])


@torch.no_grad()
def test_unet(parity: Path, checkpoint, recipe, expected: dict[str, Tensor]) -> None:
    network = filled(full_size_network("unet", parity), "unet", checkpoint("diffusion_unet").states["unet"])
    slices = torch.from_numpy(recipe.slices())[:1]
    out = network(slices, torch.tensor([199]), torch.tensor([0]))
    assert_close(out[:, :, ::4, ::4], expected["unet_out_16th"])
