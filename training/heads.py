"""The last part of the encoder's training: the two heads alone, on tokens that no longer change.

A step of the encoder costs a second and teaches the heads from four cases. Once it is finished, the pooled
tokens of all cases fit into memory, and the heads see every case dozens of times in a minute.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from models.ctvit import pooled_tokens
from training.checkpoint import Checkpoint, WarmCosine
from training.dataset import Batch, Thoraces, jittered
from training.joint_encoder import JointEncoder
from training.recipe import HeadTraining

log = logging.getLogger(__name__)

_GRADIENT_NORM = 1.0


def train_heads(network: JointEncoder, data: Thoraces, settings: HeadTraining, folder: Path) -> None:
    """Train the heads of `network` and its text tower in place; the encoder stays as it is.

    Every case is seen as it is and `settings.moved` times moved a little, as the encoder saw it.
    """
    checkpoint = Checkpoint(folder / "heads.pt")
    state = checkpoint.load()
    if state is not None:
        network.load_state_dict(state["network"])
        network.eval()
        return
    pooled, labels = _pooled(network, data, settings)
    trained = [network.ctclip, network.supervised, network.text]
    parameters = [parameter for part in trained for parameter in part.parameters()]
    optimiser = torch.optim.AdamW(parameters, weight_decay=settings.weight_decay)
    steps = settings.epochs * (len(pooled) // settings.batch)
    rate = WarmCosine(settings.learning_rate, steps // 20, steps)
    generator = torch.Generator().manual_seed(0)
    network.train()
    step = 0
    for epoch in range(settings.epochs):
        order = torch.randperm(len(pooled), generator=generator)
        for first in range(0, steps // settings.epochs * settings.batch, settings.batch):
            chosen = order[first : first + settings.batch]
            loss = _loss(network, pooled[chosen], labels[chosen])
            for group in optimiser.param_groups:
                group["lr"] = rate.at(step)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(parameters, _GRADIENT_NORM)
            optimiser.step()
            step += 1
        if epoch % 10 == 9:
            log.info("heads: epoch %d, loss %.4f", epoch + 1, float(loss.detach()))
    network.eval()
    checkpoint.save({"network": network.state_dict()})


def _loss(network: JointEncoder, pooled: Tensor, labels: Tensor) -> Tensor:
    supervised = F.binary_cross_entropy_with_logits(network.supervised(pooled), labels)
    pairs = network.ctclip.logits(network.ctclip.image_latents(pooled), network.text_latents())
    return supervised + F.cross_entropy(pairs.flatten(0, 1), (1 - labels).long().flatten())


@torch.no_grad()
def _pooled(network: JointEncoder, data: Thoraces, settings: HeadTraining) -> tuple[Tensor, Tensor]:
    """Quantised tokens (n, 1, h, w, d), the mean over t taken already, and labels (n, findings)."""
    network.eval()
    grid = network.tower.config.grid
    pooled, labels = [], []
    for turn in range(1 + settings.moved):
        for index in range(len(data)):
            batch: Batch = data.batch(np.array([index]))
            if turn > 0:
                batch = jittered(batch, np.random.default_rng([turn, index]))
            tokens = pooled_tokens(network.tower(batch.volumes))
            pooled.append(tokens.reshape(1, 1, *grid, -1))
            labels.append(batch.labels)
        log.info("heads: tokens of %d cases, turn %d of %d", len(data), turn + 1, 1 + settings.moved)
    return torch.cat(pooled), torch.cat(labels)
