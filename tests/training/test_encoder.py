"""A tiny training learns, goes on after a kill as if nothing had happened, and ends in a usable encoder."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from training.dataset import Thoraces
from training.encoder import EncoderRun
from training.joint_encoder import JointEncoder, new_encoder, token_targets
from training.prompts import tokenised, vocabulary
from training.recipe import LABELS, Recipe


def fresh(recipe: Recipe, folder: Path) -> JointEncoder:
    return new_encoder(recipe, tokenised(LABELS, folder))


def test_the_loss_falls_and_the_tokens_are_codes(
    tmp_path: Path, tiny_recipe: Recipe, tiny_cases: Thoraces
) -> None:
    run = EncoderRun(tiny_recipe, fresh(tiny_recipe, tmp_path), tiny_cases, tiny_cases, tmp_path)
    totals = [run.train_step() for _ in range(tiny_recipe.encoder_training.steps)]
    first, last = (np.mean([part.total.item() for part in part_of]) for part_of in (totals[:5], totals[-5:]))
    assert last < 0.8 * first
    with torch.no_grad():
        tokens = run.network.tower(tiny_cases.volume(0)[None, None])
    assert tokens.shape == (1, 4, 4, 4, 32)
    codes = run.network.tower.vq.codes
    distances = torch.cdist(tokens.reshape(-1, 32), codes)
    assert distances.min(dim=1).values.max() < 1e-3


def test_a_killed_run_ends_as_one_that_was_not(
    tmp_path: Path, tiny_recipe: Recipe, tiny_cases: Thoraces
) -> None:
    settings = replace(tiny_recipe.encoder_training, steps=14, continuous_steps=6, checkpoint_every=8)
    recipe = replace(tiny_recipe, encoder_training=settings)
    whole = EncoderRun(recipe, fresh(recipe, tmp_path), tiny_cases, None, tmp_path / "whole").run()

    killed = EncoderRun(recipe, fresh(recipe, tmp_path), tiny_cases, None, tmp_path / "killed")
    saved = iter(range(11))
    original = killed.train_step

    def step() -> object:
        if next(saved, None) is None:
            raise KeyboardInterrupt
        return original()

    killed.train_step = step  # type: ignore[method-assign,assignment]
    with pytest.raises(KeyboardInterrupt):
        killed.run()
    resumed = EncoderRun(recipe, fresh(recipe, tmp_path), tiny_cases, None, tmp_path / "killed").run()
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, msg=name)


def test_the_journal_holds_the_auroc_of_both_members(
    tmp_path: Path, tiny_recipe: Recipe, tiny_cases: Thoraces
) -> None:
    settings = replace(tiny_recipe.encoder_training, steps=4, continuous_steps=2, monitor_every=4)
    recipe = replace(tiny_recipe, encoder_training=settings)
    EncoderRun(recipe, fresh(recipe, tmp_path), tiny_cases, tiny_cases, tmp_path).run()
    lines = [json.loads(line) for line in (tmp_path / "encoder.jsonl").read_text().splitlines()]
    figures = next(line["auroc"] for line in lines if "auroc" in line)
    both_kinds = [
        name for name, share in zip(LABELS, tiny_cases.labels.mean(axis=0), strict=True) if 0 < share < 1
    ]
    assert len(both_kinds) > 3
    assert {f"{member} {name}" for member in ("supervised", "ctclip") for name in both_kinds} == set(figures)
    assert all(0 <= value <= 1 for value in figures.values())


def test_a_token_is_asked_about_its_own_patch() -> None:
    masks = torch.zeros(1, 2, 8, 8, 8)
    masks[0, 1, 4:6, 0:2, 6:8] = 1  # exactly the patch (2, 0, 3)
    masks[0, 0, 0, 0, 0] = 1  # one of its eight cells
    targets = token_targets(masks, (4, 4, 4))
    assert targets.shape == (1, 4, 4, 4, 2)
    assert targets[0, 2, 0, 3, 1] == 1
    assert targets[..., 1].sum() == 1
    torch.testing.assert_close(targets[0, 0, 0, 0, 0], torch.tensor(1 / 3))


def test_prompts_have_a_vocabulary_of_their_own(tmp_path: Path) -> None:
    prompts = tokenised(LABELS, tmp_path)
    words = vocabulary(LABELS)
    assert prompts.input_ids.shape[0] == 2 * len(LABELS)
    decoded = [
        " ".join(words[i] for i, keep in zip(ids, mask, strict=True) if keep)
        for ids, mask in zip(prompts.input_ids.tolist(), prompts.attention_mask.tolist(), strict=True)
    ]
    assert decoded[:2] == ["[CLS] lung nodule is present . [SEP]", "[CLS] lung nodule is not present . [SEP]"]
