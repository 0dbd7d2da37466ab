"""The image encoder with its two heads, trained jointly on rendered thoraces.

Three losses share one image pass: the contrast of each finding's two prompts (CT-CLIP's zero-shot question),
the supervised head's multi-label cross-entropy, and an auxiliary question to every token, which of the
findings lie in its patch. The last is what makes small findings learnable in an hour; its layer is not part
of the bundle.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.ctclip import CTCLIPHead
from models.ctvit import CTViT, CTViTConfig
from models.supervised import SupervisedHead
from models.text_tower import TextTower
from training.checkpoint import Checkpoint, Journal, WarmCosine
from training.dataset import Batch, Thoraces, jittered
from training.metrics import auroc
from training.painted_nodules import painted
from training.prompts import Prompts, text_latents
from training.quantiser import MovingCodebook, QuantiserSettings, commitment_loss, straight_through
from training.recipe import EncoderTraining, Recipe
from training.starting_points import distinguishing_projection, start_as_cosines, start_as_mean, tile

_GRADIENT_NORM = 1.0
# What the codebook and the heads start from.
_STARTING_CASES, _STARTING_TOKENS = 160, 250
# Share of the learning rate for the projections of the whole token grid.
_WIDE_SHARE = 0.15
_MASK_CELLS_OF_A_FULL_TOKEN = 3


class JointEncoder(nn.Module):
    """Everything that is trained together: encoder, image heads, text tower and the auxiliary token layer."""

    def __init__(self, recipe: Recipe, prompts: Prompts, labels: int) -> None:
        super().__init__()
        self.prompts = prompts
        height, width = recipe.tower.grid
        dim_image = height * width * recipe.tower.dim
        self.tower = CTViT(recipe.tower)
        self.ctclip = CTCLIPHead(dim_image, recipe.dim_latent)
        self.supervised = SupervisedHead(dim_image, recipe.dim_latent, labels)
        self.text = TextTower(prompts.bert_config, recipe.dim_latent)
        self.token_findings = nn.Linear(recipe.tower.dim, labels)
        self.token_weights: Tensor
        self.register_buffer("token_weights", torch.ones(labels), persistent=False)
        patch = (recipe.tower.temporal_patch_size, recipe.tower.patch_size, recipe.tower.patch_size)
        start_as_cosines(self.tower.to_patch_emb[2], patch)
        for head in (self.ctclip, self.supervised):
            start_as_mean(head.to_visual_latent, height * width)
        # CLIP's temperature (Radford et al., 2021): cosines within 1 become logits within 14.
        nn.init.constant_(self.ctclip.temperature, float(np.log(1 / 0.07)))

    def text_latents(self) -> Tensor:
        """Latents (labels, 2, dim_latent) of the labels' prompts, [present, not present]."""
        return text_latents(self.text, self.prompts)


def new_encoder(recipe: Recipe, prompts: Prompts) -> JointEncoder:
    """An untrained network; the recipe's seed decides its weights."""
    torch.manual_seed(recipe.seed)
    return JointEncoder(recipe, prompts, len(recipe.labels))


@dataclass(frozen=True)
class Losses:
    """Parts of the loss of one batch; `total` is what is minimised."""

    supervised: Tensor
    prompts: Tensor
    tokens: Tensor
    commitment: Tensor
    total: Tensor


@dataclass(frozen=True)
class ReadOut:
    """What the heads see: unit vectors (b, t, h, w, d), and how far the tokens lay from their codes."""

    tokens: Tensor
    commitment: Tensor


def losses(network: JointEncoder, batch: Batch, read: ReadOut, settings: EncoderTraining) -> Losses:
    """The losses of what was read out of the batch's volumes against its truth."""
    read_out, commitment = read.tokens, read.commitment
    supervised = F.binary_cross_entropy_with_logits(network.supervised(read_out), batch.labels)
    pairs = network.ctclip.logits(network.ctclip.image_latents(read_out), network.text_latents())
    contrast = F.cross_entropy(pairs.flatten(0, 1), (1 - batch.labels).long().flatten())
    # Unit vectors of many components are small in each: the layer sees them at the scale it was made for.
    scale = read_out.shape[-1] ** 0.5
    tokens = F.binary_cross_entropy_with_logits(
        network.token_findings(read_out * scale),
        token_targets(batch.masks, tuple(read_out.shape[1:4])),
        pos_weight=network.token_weights,
    )
    total = supervised + contrast + settings.token_weight * tokens + settings.commitment_weight * commitment
    return Losses(supervised, contrast, tokens, commitment, total)


def token_targets(masks: Tensor, grid: tuple[int, ...]) -> Tensor:
    """Coarse masks (b, n, cells) as targets (b, *grid, n) of the tokens.

    0 where a finding misses the token's patch, 1 where it fills some cells of it, between for less.
    """
    t, h, w = grid
    cells = F.avg_pool3d(masks, tuple(m // g for m, g in zip(masks.shape[2:], (t, h, w), strict=True)))
    per_token = masks[0, 0].numel() / (t * h * w)
    return (cells * per_token / _MASK_CELLS_OF_A_FULL_TOKEN).clamp(max=1).permute(0, 2, 3, 4, 1)


def token_weights(data: Thoraces, tower: CTViTConfig) -> Tensor:
    """Weight (findings,) of the tokens that hold a finding: the square root of the odds against it.

    A nodule lies in one token of a thousand, emphysema in a hundred: without weights the loss is content to
    see no nodule, and with the whole odds it sees nothing else.
    """
    masks = data.masks(np.arange(min(len(data), _STARTING_CASES)))
    grid = (data.target.shape[0] // tower.temporal_patch_size, *tower.grid)
    share = (token_targets(masks, grid) > 0).float().mean(dim=(0, 1, 2, 3)).clamp(min=1e-4)
    return ((1 - share) / share).sqrt()


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


@torch.no_grad()
def predictions(
    network: JointEncoder, data: Thoraces, quantised: bool = True
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Probabilities (cases, findings) of the supervised head and of the prompts."""
    network.eval()
    latents = network.text_latents()
    supervised, prompted = [], []
    for index in range(len(data)):
        tokens = network.tower.encode_continuous(data.volume(index)[None, None])
        tokens = network.tower.quantise(tokens)[0] if quantised else F.normalize(tokens, dim=-1)
        supervised.append(network.supervised(tokens).sigmoid()[0])
        prompted.append(network.ctclip(tokens, latents)[0])
    return torch.stack(supervised).numpy(), torch.stack(prompted).numpy()
