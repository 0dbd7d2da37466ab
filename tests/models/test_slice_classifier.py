"""The slice classifier against the original's."""

from __future__ import annotations

from pathlib import Path

import torch

from models.slice_classifier import SliceClassifier, SliceClassifierConfig
from tests.models.reference import assert_close, small_slice_classifier, tensors


@torch.no_grad()
def test_logits_and_probabilities_are_the_originals(parity: Path) -> None:
    network, expected = small_slice_classifier(parity), tensors(parity, "diffusion_classifier_small/io")
    logits = network(expected["x"], expected["t"])
    assert_close(logits, expected["logits"])
    assert_close(logits.softmax(dim=-1)[:, 1], expected["probs"])


@torch.no_grad()
def test_a_slice_scores_the_same_alone_and_in_a_batch(parity: Path) -> None:
    network, expected = small_slice_classifier(parity), tensors(parity, "diffusion_classifier_small/io")
    alone = torch.cat([network(x[None], t[None]) for x, t in zip(expected["x"], expected["t"], strict=True)])
    assert_close(alone, network(expected["x"], expected["t"]), tolerance=1e-5)


def test_training_reaches_every_parameter_once_the_branches_have_opened() -> None:
    torch.manual_seed(0)
    sizes = SliceClassifierConfig(
        image_size=24,
        model_channels=32,
        num_res_blocks=1,
        attention_resolutions=(2,),
        channel_mult=(1, 2, 2),
        num_head_channels=32,
    )
    network = SliceClassifier(sizes)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    images, labels, t = torch.randn(4, 1, 24, 24), torch.tensor([0, 1, 0, 1]), torch.tensor([0, 5, 100, 999])
    for _ in range(3):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(network(images, t), labels).backward()
        optimiser.step()
    without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []
