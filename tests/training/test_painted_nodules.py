"""Painted nodules lie in lung, are as large as the phantom's, and are known to mask and label."""

from __future__ import annotations

import numpy as np
import torch

from training.dataset import CELL, Batch, InputGrid
from training.painted_nodules import painted

GRID = InputGrid((4.5, 2.25, 2.25), (80, 64, 64))


def lung_beside_soft_tissue() -> Batch:
    """The half x < 32 is lung, the other soft tissue; no finding."""
    volume = torch.full(GRID.shape, 0.05)
    volume[:, :32] = -0.85
    return Batch(volume[None, None], torch.zeros(1, 6), torch.zeros(1, 6, *GRID.cells))


def test_nodules_are_painted_into_lung_with_mask_and_label() -> None:
    before = lung_beside_soft_tissue()
    after = painted(before, GRID, 1.0, np.random.default_rng(5))
    changed = (after.volumes - before.volumes).abs()[0, 0] > 0.2
    assert after.labels[0].tolist() == [1, 0, 0, 0, 0, 0]
    assert changed.any()
    assert changed[:, :32].sum() == changed.sum()
    assert after.volumes[0, 0][changed].mean().item() == np.clip(
        after.volumes[0, 0][changed].mean().item(), 0, 0.08
    )
    covered = np.kron(after.masks[0, 0].numpy(), np.ones(CELL)) > 0
    assert covered[changed.numpy()].all()
    assert after.masks[0, 1:].sum() == 0
    volume_mm3 = changed.sum().item() * 4.5 * 2.25 * 2.25
    assert 0.4 * 4.19 * 6**3 < volume_mm3 < 8 * 1.2 * 4.19 * 15**3
    assert before.labels.sum() == 0


def test_nothing_is_painted_where_there_is_no_lung_or_none_is_wanted() -> None:
    batch = lung_beside_soft_tissue()
    assert torch.equal(painted(batch, GRID, 0.0, np.random.default_rng(5)).volumes, batch.volumes)
    solid = Batch(torch.full((1, 1, *GRID.shape), 0.05), batch.labels, batch.masks)
    after = painted(solid, GRID, 1.0, np.random.default_rng(5))
    assert torch.equal(after.volumes, solid.volumes)
    assert after.labels.sum() == 0
