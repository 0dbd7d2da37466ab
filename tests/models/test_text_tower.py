"""Prompts, their tokens and their latents."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from models.text_tower import TextTower, load_tokenizer, prompt_pair, text_latents
from tests.models.reference import assert_close, small_text_tower, tensors


@pytest.fixture(scope="module")
def tokenizer_folder(parity: Path) -> Path:
    return parity.parent / "tokenizer" / "cxr-bert"


@torch.no_grad()
def test_states_and_latents_are_the_originals(parity: Path) -> None:
    tower, expected = small_text_tower(parity), tensors(parity, "ctclip_small/io")
    ids, mask = expected["input_ids"].flatten(0, 1), expected["attention_mask"].flatten(0, 1)
    assert_close(tower.class_states(ids, mask).view(3, 2, -1), expected["text_cls"])
    assert_close(tower(ids, mask).view(3, 2, -1), expected["text_latents"])


@torch.no_grad()
def test_padding_changes_no_latent(parity: Path) -> None:
    tower, expected = small_text_tower(parity), tensors(parity, "ctclip_small/io")
    for row in range(3):
        mask = expected["attention_mask"][row, :1]
        length = int(mask.sum())
        assert length < mask.shape[1]
        latents = tower(expected["input_ids"][row, :1, :length], mask[:, :length])
        assert_close(latents, expected["text_latents"][row, :1])


def test_every_prompt_has_the_published_tokens(parity: Path, tokenizer_folder: Path) -> None:
    tokenizer = load_tokenizer(tokenizer_folder)
    expected = json.loads((parity / "tokens.json").read_text())
    labels = json.loads((parity / "features" / "labels.json").read_text())
    names = labels["ctclip_prompts_55"] + labels["ct_rate_labels_18"]
    prompts = {prompt for name in names for prompt in prompt_pair(name)}
    assert prompts == set(expected)
    assert {prompt: tokenizer(prompt)["input_ids"] for prompt in prompts} == expected


def test_latents_of_labels_are_those_of_their_prompts(tokenizer_folder: Path) -> None:
    torch.manual_seed(0)
    sizes = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    tower = TextTower({"vocab_size": 30522, "hidden_size": 16, **sizes}, dim_latent=8).eval()
    tokenizer = load_tokenizer(tokenizer_folder)
    latents = text_latents(tower, tokenizer, ["Pneumonia", "Lymphangitic carcinomatosis"])
    assert latents.shape == (2, 2, 8)
    alone = tokenizer("pneumonia is not present.", return_tensors="pt")
    with torch.no_grad():
        assert_close(latents[0, 1], tower(alone["input_ids"], alone["attention_mask"])[0])
