"""Patches come with the truth of their place, and the encoder begins as what learned from them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from training.dataset import Thoraces
from training.heads import train_heads
from training.joint_encoder import new_encoder, token_targets
from training.patches import PatchPool, patch_logits, start_without_context, train_on_patches
from training.prompts import tokenised
from training.recipe import LABELS, HeadTraining, PatchTraining, Recipe


def test_a_draw_can_be_repeated_and_holds_findings(tiny_recipe: Recipe, tiny_cases: Thoraces) -> None:
    pool = PatchPool(tiny_cases, tiny_recipe.tower)
    patches, targets = pool.draw(24, 20, np.random.default_rng(2))
    again = pool.draw(24, 20, np.random.default_rng(2))
    assert patches.shape == (480, 4 * 8 * 8)
    assert torch.equal(patches, again[0])
    assert torch.equal(targets, again[1])
    assert targets.shape == (480, len(LABELS))
    assert (targets > 0).any(dim=0).sum() >= 3
    assert patches.abs().max() <= 1


def test_without_context_the_encoder_is_the_patch_network(
    tmp_path: Path, tiny_recipe: Recipe, tiny_cases: Thoraces
) -> None:
    network = new_encoder(tiny_recipe, tokenised(LABELS, tmp_path))
    start_without_context(network.tower)
    volume = tiny_cases.volume(3)
    with torch.no_grad():
        tokens = F.normalize(network.tower.encode_continuous(volume[None, None]), dim=-1)
        whole = network.token_findings(tokens * 32**0.5)[0]
        patch = volume[4:8, 8:16, 16:24]
        torch.testing.assert_close(
            patch_logits(network, patch.flatten()[None])[0], whole[1, 1, 2], atol=1e-4, rtol=1e-3
        )


def test_patches_teach(tmp_path: Path, tiny_recipe: Recipe, tiny_cases: Thoraces) -> None:
    recipe = replace(
        tiny_recipe, patch_training=PatchTraining(steps=40, volumes=4, each=32, learning_rate=3e-3)
    )
    network = new_encoder(recipe, tokenised(LABELS, tmp_path))
    probe, targets = PatchPool(tiny_cases, recipe.tower).draw(12, 32, np.random.default_rng(9))

    def loss() -> float:
        with torch.no_grad():
            return F.binary_cross_entropy_with_logits(patch_logits(network, probe), targets).item()

    before = loss()
    train_on_patches(network, tiny_cases, recipe, tmp_path)
    assert loss() < 0.6 * before
    taken_up = new_encoder(recipe, tokenised(LABELS, tmp_path))
    train_on_patches(taken_up, tiny_cases, recipe, tmp_path)
    torch.testing.assert_close(patch_logits(taken_up, probe), patch_logits(network, probe))


def test_heads_learn_on_a_finished_encoder(tmp_path: Path, tiny_recipe: Recipe, tiny_cases: Thoraces) -> None:
    network = new_encoder(tiny_recipe, tokenised(LABELS, tmp_path))
    tower = {name: value.clone() for name, value in network.tower.state_dict().items()}
    volumes = torch.stack([tiny_cases.volume(index) for index in range(len(tiny_cases))])[:, None]
    labels = torch.from_numpy(tiny_cases.labels)

    def loss() -> float:
        with torch.no_grad():
            logits = network.supervised(network.tower(volumes))
            return F.binary_cross_entropy_with_logits(logits, labels).item()

    before = loss()
    train_heads(network, tiny_cases, HeadTraining(epochs=30, batch=8, learning_rate=3e-3, moved=0), tmp_path)
    assert loss() < 0.9 * before
    for name, value in network.tower.state_dict().items():
        assert torch.equal(value, tower[name]), name


def test_a_patch_of_one_token_has_the_targets_of_that_token() -> None:
    masks = torch.zeros(2, 1, 2, 2, 2)
    masks[1, 0, 0] = 1
    assert token_targets(masks, (1, 1, 1))[:, 0, 0, 0, 0].tolist() == [0, 1]
