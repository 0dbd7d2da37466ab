"""Rendered cases are what the node would hand to the networks, and the same every time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from inference.encoder_input import encoder_input
from models.manifest import InputSpec
from phantom.cases import FINDINGS, Case
from training.dataset import (
    CELL,
    Batch,
    InputGrid,
    Thoraces,
    coarse_masks,
    drawn_cases,
    encoder_volume,
    jittered,
)
from training.evaluation import acquired
from training.recipe import Recipe

GRID = InputGrid(Recipe().spacing_mm, Recipe().shape)


def test_a_rendered_case_is_the_preparation_of_its_acquisition() -> None:
    """Position, orientation and padding: a swap of left and right, or of rows and columns, would show."""
    case = Case(41, ("Pleural effusion",))
    rendered = encoder_volume(case, GRID)
    prepared = encoder_input(acquired(case), InputSpec(GRID.spacing_mm, GRID.shape, 20)).tensor.numpy()

    padding = (rendered == -1).all(axis=(1, 2))
    np.testing.assert_array_equal(padding, (prepared == -1).all(axis=(1, 2)))
    assert 0 < padding.sum() < 20
    # 0.02 are 20 HU: noise. Any flip or swap of axes moves bone, air and fluid and gives ten times that.
    assert np.median(np.abs(rendered - prepared)) < 0.02
    assert np.corrcoef(rendered.ravel(), prepared.ravel())[0, 1] > 0.98
    for wrong in (rendered[::-1], rendered[:, ::-1], rendered[:, :, ::-1], rendered.transpose(0, 2, 1)):
        assert np.corrcoef(wrong.ravel(), prepared.ravel())[0, 1] < 0.95


def test_masks_lie_where_the_finding_changes_the_volume() -> None:
    case = Case(5, ("Pneumothorax",))
    cells = coarse_masks(case, GRID)
    assert cells.shape == GRID.cells
    assert set(np.unique(cells)) == {0, 1 << FINDINGS.index("Pneumothorax")}
    changed = np.abs(encoder_volume(case, GRID) - encoder_volume(Case(5, ()), GRID)) > 0.1
    voxels = np.kron(cells > 0, np.ones(CELL)) > 0
    assert changed[voxels].mean() > 5 * changed[~voxels].mean()


def test_a_cache_is_the_same_whoever_makes_it(tmp_path: Path, tiny_grid: InputGrid) -> None:
    caches = [Thoraces(tmp_path / name, drawn_cases(range(7, 11)), tiny_grid) for name in ("one", "two")]
    for cache in caches:
        cache.prepare(workers=1)
    for index in range(4):
        assert torch.equal(caches[0].volume(index), caches[1].volume(index))
    written = (tmp_path / "one" / "volumes.u8").stat().st_mtime_ns
    caches[0].prepare(workers=1)
    assert (tmp_path / "one" / "volumes.u8").stat().st_mtime_ns == written


def test_the_cache_keeps_hounsfield_units_to_four(tiny_grid: InputGrid, tiny_cases: Thoraces) -> None:
    exact = encoder_volume(tiny_cases.cases[5], tiny_grid)
    assert np.abs(tiny_cases.volume(5).numpy() - exact).max() <= 0.004


def test_jitter_moves_volume_and_masks_together() -> None:
    volume = torch.full((16, 32, 32), -0.8)
    volume[6:8, 12:16, 20:24] = 0.5
    mask = torch.zeros(1, 8, 8, 8)
    mask[0, 3, 3, 5] = 1
    batch = Batch(volume[None, None], torch.ones(1, 1), mask[None])
    places = set()
    for seed in range(12):
        moved = jittered(batch, np.random.default_rng(seed))
        cell = tuple(int(n) for n in moved.masks[0, 0].nonzero()[0])
        places.add(cell)
        inside = moved.volumes[0, 0][
            tuple(slice(i * c, (i + 1) * c) for i, c in zip(cell, CELL, strict=True))
        ]
        assert inside.min() > 0.3
    assert len(places) > 4
    assert torch.equal(batch.volumes[0, 0], volume)
