"""The trained heads over the image latent."""

from __future__ import annotations

from pathlib import Path

import torch

from models.supervised import ClassFineHead
from tests.models.reference import assert_close, small_ctclip, small_supervised, small_tower, tensors


@torch.no_grad()
def test_logits_and_probabilities_are_the_originals(parity: Path) -> None:
    tower, head, expected = (
        small_tower(parity),
        small_supervised(parity),
        tensors(parity, "supervised_small/io"),
    )
    logits = head(tower(expected["images"]))
    assert_close(logits, expected["logits"])
    assert_close(logits.sigmoid(), expected["probs"])


@torch.no_grad()
def test_an_image_scores_the_same_alone_and_in_a_batch(parity: Path) -> None:
    tower, head, expected = (
        small_tower(parity),
        small_supervised(parity),
        tensors(parity, "supervised_small/io"),
    )
    alone = torch.cat([head(tower(image[None])) for image in expected["images"]])
    assert_close(alone, expected["logits"])


@torch.no_grad()
def test_classfine_sees_only_the_positive_part_of_the_latent(parity: Path) -> None:
    tokens = small_tower(parity)(tensors(parity, "ctclip_small/io")["image"])
    ctclip = small_ctclip(parity)
    head = ClassFineHead(576, 512, 3)
    head.to_visual_latent.weight.copy_(ctclip.to_visual_latent.weight)
    head.classifier.weight.copy_(torch.eye(3, 512))
    head.classifier.bias.fill_(0.25)
    latent = ctclip.image_latents(tokens)[:, :3]
    assert (latent < 0).any()
    assert_close(head(tokens), latent.clamp(min=0) + 0.25)
