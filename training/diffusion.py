"""The two slice networks: a classifier that also reads noised slices, and the class-conditional UNet."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.ddim import DiffusionSchedule
from models.slice_classifier import SliceClassifier
from models.unet import UNet
from training.checkpoint import Checkpoint, Journal, WarmCosine
from training.metrics import auroc
from training.recipe import Recipe, SliceTraining
from training.slices import SliceBatch, SlicePool

_GRADIENT_NORM = 1.0
_WARMUP_STEPS = 50
# Weight of the variance's bound against the noise's squared error (Nichol and Dhariwal, 2021, L_hybrid).
_VARIANCE_WEIGHT = 1e-3
_JOURNAL_EVERY = 20

Loss = Callable[[SliceBatch, np.random.Generator], Tensor]


class NoisySlices:
    """The forward process: slices at random timesteps, with the tables the losses need."""

    def __init__(self, limit: int) -> None:
        schedule = DiffusionSchedule.linear()
        self._limit = limit
        betas = torch.from_numpy(schedule.betas)
        alpha_bar = torch.from_numpy(schedule.alphas_cumprod)
        before = torch.cat([torch.ones(1, dtype=alpha_bar.dtype), alpha_bar[:-1]])
        posterior = betas * (1 - before) / (1 - alpha_bar)
        self.signal = alpha_bar.sqrt().float()
        self.noise = (1 - alpha_bar).sqrt().float()
        self.log_beta = betas.log().float()
        # At t = 0 the posterior has no variance; its logarithm is taken from t = 1, as in the original.
        self.log_posterior = torch.cat([posterior[1:2], posterior[1:]]).log().float()
        self.mean_of_start = (betas * before.sqrt() / (1 - alpha_bar)).float()
        self.mean_of_noisy = ((1 - before) * (1 - betas).sqrt() / (1 - alpha_bar)).float()

    def timesteps(self, count: int, rng: np.random.Generator) -> Tensor:
        """`count` timesteps below the limit: reconstruction never visits noisier ones."""
        return torch.from_numpy(rng.integers(0, self._limit, size=count))

    def at(self, images: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """Images (b, 1, s, s) with the noise of timesteps `t` (b,)."""
        return _each(self.signal, t) * images + _each(self.noise, t) * noise


def classifier_loss(network: nn.Module, noisy: NoisySlices) -> Loss:
    """Cross-entropy of normal against abnormal; half of the slices as inference scores them, half noised."""

    def loss(batch: SliceBatch, rng: np.random.Generator) -> Tensor:
        t = noisy.timesteps(len(batch.images), rng)
        clean = torch.from_numpy(rng.random(len(t)) < 0.5)
        images = noisy.at(batch.images, t, _normal(batch.images, rng))
        images = torch.where(clean[:, None, None, None], batch.images, images)
        return F.cross_entropy(network(images, torch.where(clean, 0, t)), batch.classes)

    return loss


def unet_loss(network: nn.Module, noisy: NoisySlices) -> Loss:
    """Squared error of the noise, and a small share of the bound that teaches the variance its range."""

    def loss(batch: SliceBatch, rng: np.random.Generator) -> Tensor:
        t = noisy.timesteps(len(batch.images), rng)
        noise = _normal(batch.images, rng)
        images = noisy.at(batch.images, t, noise)
        answer = network(images, t, batch.classes)
        squared = F.mse_loss(answer[:, :1], noise)
        return squared + _VARIANCE_WEIGHT * _variance_bound(noisy, batch.images, images, t, answer)

    return loss


def _variance_bound(noisy: NoisySlices, clean: Tensor, images: Tensor, t: Tensor, answer: Tensor) -> Tensor:
    """KL divergence of the model's step from the true posterior, in bits; moves only the variance."""
    eps = answer[:, :1].detach()
    start = ((images - _each(noisy.noise, t) * eps) / _each(noisy.signal, t)).clamp(-1, 1)
    mean = _each(noisy.mean_of_start, t) * start + _each(noisy.mean_of_noisy, t) * images
    truth = _each(noisy.mean_of_start, t) * clean + _each(noisy.mean_of_noisy, t) * images
    low, high = _each(noisy.log_posterior, t), _each(noisy.log_beta, t)
    share = (answer[:, 1:] + 1) / 2
    log_variance = share * high + (1 - share) * low
    divergence = 0.5 * (
        log_variance - low - 1 + (low - log_variance).exp() + (truth - mean).square() * (-log_variance).exp()
    )
    return divergence.mean() / float(np.log(2))


class SliceRun:
    """One resumable training run of a slice network on slices of a pool; its files begin with `base`."""

    def __init__(
        self, network: nn.Module, loss: Loss, pool: SlicePool, settings: SliceTraining, base: Path
    ) -> None:
        self.journal = Journal(base.with_suffix(".jsonl"))
        self._name = base.name
        self._network = network
        self._loss = loss
        self._pool = pool
        self._settings = settings
        self._checkpoint = Checkpoint(base.with_suffix(".pt"))
        self._optimiser = torch.optim.AdamW(
            network.parameters(), weight_decay=settings.weight_decay, fused=True
        )
        self._rate = WarmCosine(
            settings.learning_rate, min(_WARMUP_STEPS, settings.steps // 4), settings.steps
        )
        self._step = 0

    def run(self, seed: int) -> None:
        """Train to the end; the network is then in eval mode."""
        self._resume()
        started, first, recent = time.monotonic(), self._step, 0.0
        self._network.train()
        while self._step < self._settings.steps:
            loss = self._train_step(seed)
            recent = loss if self._step == first + 1 else 0.95 * recent + 0.05 * loss
            if self._step % _JOURNAL_EVERY == 0:
                seconds = (time.monotonic() - started) / (self._step - first)
                self.journal.write(step=self._step, loss=round(recent, 5), seconds_per_step=round(seconds, 3))
            if self._step % self._settings.checkpoint_every == 0 or self._step == self._settings.steps:
                self._save()
        self._network.eval()

    def _train_step(self, seed: int) -> float:
        rng = np.random.default_rng([seed, *self._name.encode(), self._step])
        batch = self._pool.draw(self._settings.batch, rng)
        for group in self._optimiser.param_groups:
            group["lr"] = self._rate.at(self._step)
        loss = self._loss(batch, rng)
        self._optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._network.parameters(), _GRADIENT_NORM)
        self._optimiser.step()
        self._step += 1
        return float(loss.detach())

    def _save(self) -> None:
        self._checkpoint.save(
            {
                "step": self._step,
                "network": self._network.state_dict(),
                "optimiser": self._optimiser.state_dict(),
            }
        )

    def _resume(self) -> None:
        state = self._checkpoint.load()
        if state is not None:
            self._step = state["step"]
            self._network.load_state_dict(state["network"])
            self._optimiser.load_state_dict(state["optimiser"])


def train_classifier(recipe: Recipe, pool: SlicePool, monitoring: SlicePool, folder: Path) -> SliceClassifier:
    """The trained slice classifier; its AUROC on slices of the monitoring cases goes into the journal."""
    torch.manual_seed(recipe.seed)
    network = SliceClassifier(recipe.classifier)
    settings = recipe.classifier_training
    loss = classifier_loss(network, NoisySlices(settings.noise_limit))
    run = SliceRun(network, loss, pool, settings, folder / "classifier")
    run.run(recipe.seed)
    batch = monitoring.draw(256, np.random.default_rng(recipe.seed))
    with torch.no_grad():
        scores = network(batch.images, torch.zeros(len(batch.images), dtype=torch.long)).softmax(dim=-1)[:, 1]
    run.journal.write(step=settings.steps, slice_auroc=round(auroc(batch.classes.numpy(), scores.numpy()), 3))
    return network


def train_unet(recipe: Recipe, pool: SlicePool, folder: Path) -> UNet:
    """The trained diffusion UNet."""
    torch.manual_seed(recipe.seed)
    network = UNet(recipe.unet)
    settings = recipe.unet_training
    loss = unet_loss(network, NoisySlices(settings.noise_limit))
    SliceRun(network, loss, pool, settings, folder / "unet").run(recipe.seed)
    return network


def _each(table: Tensor, t: Tensor) -> Tensor:
    return table[t][:, None, None, None]


def _normal(like: Tensor, rng: np.random.Generator) -> Tensor:
    return torch.from_numpy(rng.standard_normal(like.shape, dtype=np.float32))
