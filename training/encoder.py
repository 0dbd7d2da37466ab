"""Training of the encoder and its heads on whole volumes, first without and then with its codebook."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional as F

from training.checkpoint import Checkpoint, Journal, WarmCosine
from training.dataset import Thoraces, jittered
from training.joint_encoder import JointEncoder, Losses, ReadOut, losses, predictions, token_weights
from training.metrics import auroc
from training.painted_nodules import painted
from training.quantiser import MovingCodebook, QuantiserSettings, commitment_loss, straight_through
from training.recipe import Recipe
from training.starting_points import distinguishing_projection, tile

_GRADIENT_NORM = 1.0
# What the codebook and the heads start from.
_STARTING_CASES, _STARTING_TOKENS = 160, 250
# Share of the learning rate for the projections of the whole token grid.
_WIDE_SHARE = 0.15


class EncoderRun:
    """One training run, resumable.

    Parameters
    ----------
    recipe
        What to train, and for how long.
    network
        Where it begins; trained in place.
    data, monitoring
        Cases to learn from, and cases whose AUROC is written to the journal on the way.
    folder
        Checkpoint and journal.
    """

    def __init__(
        self, recipe: Recipe, network: JointEncoder, data: Thoraces, monitoring: Thoraces | None, folder: Path
    ) -> None:
        self.network = network
        self.network.token_weights.copy_(token_weights(data, recipe.tower))
        self.journal = Journal(folder / "encoder.jsonl")
        self._recipe = recipe
        self._settings = recipe.encoder_training
        self._data = data
        self._monitoring = monitoring
        self._codebook = MovingCodebook(self.network.tower.vq.codes, QuantiserSettings())
        self._checkpoint = Checkpoint(folder / "encoder.pt")
        self._optimiser = torch.optim.AdamW(
            _parameter_groups(self.network), weight_decay=self._settings.weight_decay, fused=True
        )
        self._rate = WarmCosine(
            self._settings.learning_rate, self._settings.warmup_steps, self._settings.steps
        )
        self._step = 0

    def run(self) -> JointEncoder:
        """Train to the end and return the network in eval mode."""
        self._resume()
        started, last = time.monotonic(), self._step
        while self._step < self._settings.steps:
            parts = self.train_step()
            if self._step % 20 == 0:
                seconds = (time.monotonic() - started) / max(1, self._step - last)
                self.journal.write(
                    step=self._step,
                    seconds_per_step=round(seconds, 3),
                    **{name: round(float(value.detach()), 4) for name, value in vars(parts).items()},
                )
            if self._step % self._settings.checkpoint_every == 0 or self._step == self._settings.steps:
                self._save()
            if self._monitoring and self._step % self._settings.monitor_every == 0:
                self.journal.write(step=self._step, auroc=self.monitor(self._monitoring))
        return self.network.eval()

    def train_step(self) -> Losses:
        """One step; its number and the recipe's seed decide which cases it sees and how they are moved."""
        settings, step = self._settings, self._step
        self.network.train()
        if step == settings.continuous_steps:
            self._start_codebook()
        rng = np.random.default_rng([self._recipe.seed, step])
        batch = painted(self._data.batch(self._indices(step)), self._data.target, settings.painted_share, rng)
        batch = jittered(batch, rng)
        tokens = self.network.tower.encode_continuous(batch.volumes)
        if step < settings.continuous_steps:
            read = ReadOut(F.normalize(tokens, dim=-1), torch.zeros(()))
        else:
            codes, indices = self.network.tower.quantise(tokens)
            # The codes move in place below, and the loss must see them as they were read.
            codes = codes.clone()
            read = ReadOut(straight_through(tokens, codes), commitment_loss(tokens, codes))
            generator = torch.Generator().manual_seed(step)
            self._codebook.update(tokens.detach().flatten(0, -2), indices.flatten(), generator)
        parts = losses(self.network, batch, read, settings)
        for group in self._optimiser.param_groups:
            group["lr"] = self._rate.at(step) * group["share"]
        self._optimiser.zero_grad()
        parts.total.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), _GRADIENT_NORM)
        self._optimiser.step()
        self._step += 1
        return parts

    def monitor(self, data: Thoraces) -> dict[str, float]:
        """AUROC of each finding by the supervised head and by the prompts, as inference computes them."""
        supervised, prompted = predictions(self.network, data, self._quantised)
        answer: dict[str, float] = {}
        for index, name in enumerate(self._recipe.labels):
            truth = data.labels[:, index]
            for member, scores in (("supervised", supervised), ("ctclip", prompted)):
                if 0 < truth.sum() < len(truth):
                    answer[f"{member} {name}"] = round(auroc(truth, scores[:, index]), 3)
        return answer

    @property
    def _quantised(self) -> bool:
        return self._step > self._settings.continuous_steps

    def _indices(self, step: int) -> npt.NDArray[np.int64]:
        """Cases of a step: every epoch a new order, every case once an epoch."""
        batch, size = self._settings.batch, len(self._data)
        per_epoch = size // batch
        epoch, position = divmod(step, per_epoch)
        order = np.random.default_rng([self._recipe.seed, 1, epoch]).permutation(size)
        chosen: npt.NDArray[np.int64] = order[position * batch : (position + 1) * batch]
        return chosen

    @torch.no_grad()
    def _start_codebook(self) -> None:
        """Put the codes where the tokens are, and the heads where cases differ."""
        network, generator = self.network, torch.Generator().manual_seed(self._recipe.seed)
        kept, means = [], []
        for index in range(min(len(self._data), _STARTING_CASES)):
            tokens = network.tower.encode_continuous(self._data.volume(index)[None, None]).flatten(0, -2)
            kept.append(tokens[torch.randperm(len(tokens), generator=generator)[:_STARTING_TOKENS]])
            means.append(F.normalize(tokens, dim=-1).mean(dim=0))
        self._codebook.start(torch.cat(kept), generator)
        start = distinguishing_projection(
            torch.stack(means), network.token_findings.weight, self._recipe.dim_latent
        )
        for head in (network.ctclip, network.supervised):
            tile(head.to_visual_latent, start)
            # What the optimiser remembers of the old weights says nothing about the new ones.
            self._optimiser.state.pop(head.to_visual_latent.weight, None)

    def _save(self) -> None:
        self._checkpoint.save(
            {
                "step": self._step,
                "network": self.network.state_dict(),
                "optimiser": self._optimiser.state_dict(),
                "usage": self._codebook.usage,
            }
        )

    def _resume(self) -> None:
        state = self._checkpoint.load()
        if state is not None:
            self._step = state["step"]
            self.network.load_state_dict(state["network"])
            self._optimiser.load_state_dict(state["optimiser"])
            self._codebook.usage.copy_(state["usage"])


def _parameter_groups(network: JointEncoder) -> list[dict[str, Any]]:
    """The wide projections apart: their weights are small, and so must their steps be."""
    wide = [network.ctclip.to_visual_latent.weight, network.supervised.to_visual_latent.weight]
    narrow = [parameter for parameter in network.parameters() if all(parameter is not w for w in wide)]
    return [{"params": narrow, "share": 1.0}, {"params": wide, "share": _WIDE_SHARE}]
