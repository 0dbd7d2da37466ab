"""The image side of CT-CLIP against the original's."""

from __future__ import annotations

from pathlib import Path

import torch

from models.ctvit import pooled_tokens
from tests.models.reference import assert_close, small_ctclip, small_tower, tensors


@torch.no_grad()
def test_latents_logits_and_probabilities_are_the_originals(parity: Path) -> None:
    tower, head, expected = small_tower(parity), small_ctclip(parity), tensors(parity, "ctclip_small/io")
    tokens = tower(expected["image"])
    assert_close(tokens, expected["image_encoded"])
    assert_close(pooled_tokens(tokens), expected["image_embeds_mean_flat"])
    latents = head.image_latents(tokens)
    assert_close(latents, expected["image_latents"])
    assert_close(head.logits(latents, expected["text_latents"])[0], expected["logits"])
    assert_close(head(tokens, expected["text_latents"])[0, :, None], expected["prob_present"])


@torch.no_grad()
def test_one_prompt_or_one_image_more_changes_no_answer(parity: Path) -> None:
    head, text = small_ctclip(parity), tensors(parity, "ctclip_small/io")["text_latents"]
    tower = small_tower(parity)
    tokens = tower(tensors(parity, "supervised_small/io")["images"])
    together = head(tokens, text)
    assert together.shape == (2, 3)
    alone = torch.stack([torch.cat([head(t[None], pair[None])[0] for pair in text]) for t in tokens])
    assert_close(alone, together, tolerance=1e-5)
