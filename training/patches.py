"""What a single patch tells, learned first: half a million patches before the first whole volume.

A volume has a thousand tokens and few of them hold a lesion, so an encoder trained on volumes alone meets its
first thousand nodules after hours. Patches are drawn where there is lung, half of them with a painted nodule,
and go through the encoder's own layers without attention. The encoder then begins as that network
(`start_without_context`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.ctvit import CTViT, CTViTConfig
from phantom.cases import FINDINGS
from training.checkpoint import Checkpoint, Journal, WarmCosine
from training.dataset import CELL, Thoraces
from training.joint_encoder import JointEncoder, token_targets
from training.painted_nodules import DENSITY, RADIUS_MM, lobulated
from training.recipe import Recipe

_NODULE = FINDINGS.index("Lung nodule")
_CANDIDATES = 12
_IN_LUNG_SHARE = 0.85
_PAINTED_SHARE = 0.35
_AERATED = (-0.95, -0.6)
_NOISE = 0.02
_FEED_OUT = ".3.4.weight"


class PatchPool:
    """Draws patches of the encoder's size at places that its coarse masks can describe."""

    def __init__(self, data: Thoraces, tower: CTViTConfig) -> None:
        self._data = data
        self._shape = np.array([tower.temporal_patch_size, tower.patch_size, tower.patch_size])
        self._cells = self._shape // np.array(CELL)
        self._last = np.array(data.target.cells) - self._cells

    def draw(self, volumes: int, each: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """`each` patches from each of `volumes` cases: (n, z * x * y) in HU / 1000, targets (n, findings)."""
        drawn = [self._draw(int(case), each, rng) for case in rng.integers(len(self._data), size=volumes)]
        return torch.cat([patches for patches, _ in drawn]), torch.cat([targets for _, targets in drawn])

    def _draw(self, case: int, count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        volume, masks = self._data.volume(case), self._data.masks(np.array([case]))[0]
        places = rng.integers(0, self._last + 1, size=(count * _CANDIDATES, 3))
        middles = (places + self._cells / 2) * np.array(CELL)
        value = volume[tuple(torch.from_numpy(axis.astype(np.int64)) for axis in middles.T)].numpy()
        in_lung = (value > _AERATED[0]) & (value < _AERATED[1])
        wanted = np.argsort(~in_lung, kind="stable")[: int(count * _IN_LUNG_SHARE)]
        rest = rng.choice(len(places), size=count - len(wanted), replace=False)
        chosen = places[np.concatenate([wanted, rest])]
        patches = _blocks(volume, chosen * np.array(CELL), self._shape)
        cells = torch.stack([_blocks(mask, chosen, self._cells) for mask in masks], dim=1)
        self._paint(patches, cells, rng)
        patches = (patches + _NOISE * rng.random() * torch.from_numpy(_normal(patches, rng))).clamp(-1, 1)
        return patches.flatten(1), token_targets(cells, (1, 1, 1))[:, 0, 0, 0]

    def _paint(self, patches: Tensor, cells: Tensor, rng: np.random.Generator) -> None:
        """A lobulated nodule into some of the patches whose voxel at its centre is aerated."""
        count = len(patches)
        centre = rng.uniform(0, 1, (count, 3)) * self._shape
        voxel = tuple(torch.from_numpy(axis) for axis in centre.astype(np.int64).T)
        value = patches[(torch.arange(count), *voxel)].numpy()
        wanted = (value > _AERATED[0]) & (value < _AERATED[1]) & (rng.random(count) < _PAINTED_SHARE)
        index = np.flatnonzero(wanted)
        spacing = np.array(self._data.target.spacing_mm)
        points = np.stack(np.meshgrid(*(np.arange(n) for n in self._shape), indexing="ij"), axis=-1) * spacing
        radii = rng.uniform(*RADIUS_MM, len(index))
        inside = lobulated(points, centre[index] * spacing, radii, rng)
        hu = torch.from_numpy(rng.uniform(*DENSITY, (len(index), 1, 1, 1))).float()
        hu = hu + 0.014 * torch.from_numpy(_normal(patches[index], rng))
        mask = torch.from_numpy(inside)
        patches[index] = torch.where(mask, hu, patches[index])
        covered = F.max_pool3d(mask.float()[:, None], CELL)[:, 0]
        cells[index, _NODULE] = torch.maximum(cells[index, _NODULE], covered)


@torch.no_grad()
def start_without_context(tower: CTViT) -> None:
    """Close every way between tokens: the encoder then sees each patch by itself, and training opens them."""
    closed = (".0.dsconv.", ".1.to_out.")
    for name, parameter in tower.named_parameters():
        if any(part in name for part in closed) or (
            name.startswith("enc_temporal") and name.endswith(_FEED_OUT)
        ):
            parameter.zero_()


def feed_forwards(tower: CTViT) -> list[nn.Module]:
    """The feed-forward blocks of the spatial transformer, in order."""
    return [layer.get_submodule("3") for layer in tower.enc_spatial_transformer.layers]


def patch_logits(network: JointEncoder, patches: Tensor) -> Tensor:
    """What the encoder without context says about patches (n, values): logits (n, findings)."""
    tower = network.tower
    tokens = patches
    for stage in list(tower.to_patch_emb)[1:]:
        tokens = stage(tokens)
    for feed_forward in feed_forwards(tower):
        tokens = tokens + feed_forward(tokens)
    tokens = tower.enc_temporal_transformer.norm_out(tower.enc_spatial_transformer.norm_out(tokens))
    logits: Tensor = network.token_findings(F.normalize(tokens, dim=-1) * tokens.shape[-1] ** 0.5)
    return logits


def train_on_patches(network: JointEncoder, data: Thoraces, recipe: Recipe, folder: Path) -> None:
    """Train the patch-wise layers of `network` in place."""
    settings, seed = recipe.patch_training, recipe.seed
    checkpoint, journal = Checkpoint(folder / "patches.pt"), Journal(folder / "patches.jsonl")
    state = checkpoint.load()
    if state is not None:
        network.load_state_dict(state["network"])
        return
    start_without_context(network.tower)
    pool = PatchPool(data, network.tower.config)
    parameters = list(network.parameters())
    optimiser = torch.optim.AdamW(parameters, weight_decay=settings.weight_decay, fused=True)
    rate = WarmCosine(settings.learning_rate, settings.steps // 20 + 1, settings.steps)
    recent = 0.0
    for step in range(settings.steps):
        patches, targets = pool.draw(settings.volumes, settings.each, np.random.default_rng([seed, 7, step]))
        loss = F.binary_cross_entropy_with_logits(patch_logits(network, patches), targets)
        for group in optimiser.param_groups:
            group["lr"] = rate.at(step)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        recent = 0.95 * recent + 0.05 * float(loss.detach()) if step else float(loss.detach())
        if step % 20 == 19:
            journal.write(step=step + 1, loss=round(recent, 4))
    checkpoint.save({"network": network.state_dict()})


def _blocks(volume: Tensor, corners: npt.NDArray[np.int64], shape: npt.NDArray[np.int64]) -> Tensor:
    """Blocks (n, *shape) of a volume at `corners` (n, 3)."""
    z, x, y = (torch.from_numpy(corners[:, axis, None] + np.arange(shape[axis])[None]) for axis in range(3))
    return volume[z[:, :, None, None], x[:, None, :, None], y[:, None, None, :]]


def _normal(like: Tensor, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    return rng.standard_normal(like.shape, dtype=np.float32)
