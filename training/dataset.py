"""Synthetic thoraces as the networks see them: rendered straight onto the encoder's grid, cached on disk.

A real study passes through an acquisition of 512 x 512 pixels and is then resampled.
`phantom.grid.prepared_grid` says where that resampling reads, so a thorax rendered at those points is the
same input at a thousandth of the cost, padding outside the acquired range included.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from phantom.cases import FINDINGS, Case, draw_case
from phantom.grid import PreparedGrid, prepared_grid
from phantom.render import acquisition_grid, finding_masks, render

T = TypeVar("T", int, float)
ByteArray = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float32]

CLIP_HU = 1000.0
# A cell of the coarse masks in voxels (z, x, y): fine enough for a nodule, and a volume's masks are 64 KiB.
CELL = (2, 4, 4)
_LEVELS = 255
_SMALL_FINDING = "Lung nodule"
# What resampling to the encoder's grid leaves of the noise of sharp and smooth, thin and thick
# reconstructions.
_NOISE_HU = (6.0, 24.0)


@dataclass(frozen=True)
class InputGrid:
    """The encoder input's spacing and shape, both (z, x, y)."""

    spacing_mm: tuple[float, float, float]
    shape: tuple[int, int, int]

    @property
    def cells(self) -> tuple[int, int, int]:
        """Shape of the coarse masks."""
        z, x, y = (n // cell for n, cell in zip(self.shape, CELL, strict=True))
        return z, x, y


def encoder_volume(case: Case, target: InputGrid) -> FloatArray:
    """The encoder input of `case` (z, x, y), HU / 1000 within [-1, 1], -1 where nothing was acquired."""
    prepared = _prepared(case, target)
    rng = case.stream("training noise")
    hu = render(case, prepared.grid, noise_hu=rng.uniform(*_NOISE_HU), rng=rng)
    volume = np.full(prepared.shape, -1, dtype=np.float32)
    volume[_inside(prepared)] = hu.clip(-CLIP_HU, CLIP_HU).astype(np.float32) / CLIP_HU
    return np.ascontiguousarray(volume.transpose(0, 2, 1))


def coarse_masks(case: Case, target: InputGrid) -> ByteArray:
    """Where the findings are: (z, x, y) cells of `CELL` voxels, bit i set where FINDINGS[i] lies."""
    prepared = _prepared(case, target)
    bits = np.zeros(prepared.shape, dtype=np.uint8)
    # Rendering once more for the masks of a normal case would show nothing.
    masks = finding_masks(case, prepared.grid) if case.findings else {}
    for name, mask in masks.items():
        bits[_inside(prepared)] |= mask.astype(np.uint8) << FINDINGS.index(name)
    (z, x, y), (cz, cx, cy) = target.cells, CELL
    blocks = bits.transpose(0, 2, 1).reshape(z, cz, x, cx, y, cy)
    cells: ByteArray = np.bitwise_or.reduce(blocks, axis=(1, 3, 5))
    return cells


@dataclass(frozen=True)
class Batch:
    """Volumes (b, 1, z, x, y) in HU / 1000, labels (b, n), coarse masks (b, n, cells), both 0 and 1."""

    volumes: Tensor
    labels: Tensor
    masks: Tensor


@dataclass(frozen=True)
class _Cache:
    """The files of a set of rendered cases; `done` tells which are."""

    folder: Path
    size: int
    target: InputGrid

    def open(self, name: str, shape: tuple[int, ...], *, write: bool = False) -> ByteArray:
        path = self.folder / name
        mode: Literal["r", "r+", "w+"] = "r" if not write else "r+" if path.exists() else "w+"
        return np.memmap(path, dtype=np.uint8, mode=mode, shape=(self.size, *shape))

    def volumes(self, *, write: bool = False) -> ByteArray:
        return self.open("volumes.u8", self.target.shape, write=write)

    def masks(self, *, write: bool = False) -> ByteArray:
        return self.open("masks.u8", self.target.cells, write=write)

    def done(self, *, write: bool = False) -> ByteArray:
        return self.open("done.u8", (), write=write)

    def render(self, index: int, case: Case) -> None:
        volumes, masks, done = self.volumes(write=True), self.masks(write=True), self.done(write=True)
        volumes[index] = _to_levels(encoder_volume(case, self.target))
        masks[index] = coarse_masks(case, self.target)
        done[index] = 1


class Thoraces:
    """Rendered cases on disk.

    Parameters
    ----------
    folder
        Where the cache lies; made by `prepare`.
    cases
        The same cases give the same bytes.
    target
        The encoder's grid.
    """

    def __init__(self, folder: Path, cases: Sequence[Case], target: InputGrid) -> None:
        self.cases = tuple(cases)
        self.target = target
        self.labels: FloatArray = np.array(
            [[name in case.findings for name in FINDINGS] for case in self.cases], dtype=np.float32
        )
        self._cache = _Cache(folder, len(self.cases), target)

    def __len__(self) -> int:
        return len(self.cases)

    def prepare(self, workers: int) -> None:
        """Render what is not yet rendered; a killed run goes on where it stopped."""
        cache = self._cache
        cache.folder.mkdir(parents=True, exist_ok=True)
        cache.volumes(write=True), cache.masks(write=True)
        missing = np.flatnonzero(cache.done(write=True) == 0).tolist()
        cases = [self.cases[index] for index in missing]
        if workers == 1 or not missing:
            for index, case in zip(missing, cases, strict=True):
                cache.render(index, case)
            return
        # Forked processes would inherit torch's threads in an unusable state.
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            list(pool.map(cache.render, missing, cases, chunksize=8))

    def volume(self, index: int) -> Tensor:
        """One encoder input (z, x, y)."""
        return _from_levels(torch.from_numpy(self._cache.volumes()[index].copy()))

    def plane(self, index: int, plane: int) -> Tensor:
        """One plane (x, y) of an encoder input."""
        return _from_levels(torch.from_numpy(self._cache.volumes()[index, plane].copy()))

    def cell_bits(self, index: int) -> ByteArray:
        """One case's coarse masks, as `coarse_masks` made them."""
        return np.array(self._cache.masks()[index])

    def batch(self, indices: npt.NDArray[np.int64]) -> Batch:
        """The cases at `indices`, unchanged."""
        volumes = torch.stack([self.volume(index) for index in indices])
        return Batch(volumes[:, None], torch.from_numpy(self.labels[indices]), self.masks(indices))

    def masks(self, indices: npt.NDArray[np.int64]) -> Tensor:
        """Coarse masks (b, findings, cells) of 0 and 1."""
        bits = torch.from_numpy(np.stack([self.cell_bits(index) for index in indices]))
        weights = torch.tensor([1 << index for index in range(len(FINDINGS))], dtype=torch.uint8)
        return ((bits[:, None] & weights[None, :, None, None, None]) > 0).float()


def drawn_cases(seeds: range) -> list[Case]:
    """One case a seed: normal half of the time, else with one to three findings."""
    return [draw_case(seed) for seed in seeds]


def enriched_cases(seeds: range) -> list[Case]:
    """Cases to learn findings from: three in ten are normal, the small finding is more frequent."""
    cases = []
    for seed in seeds:
        case = draw_case(seed, abnormal=seed % 10 >= 3)
        if case.findings and seed % 4 == 0 and _SMALL_FINDING not in case.findings:
            case = Case(seed, (_SMALL_FINDING, *case.findings))
        cases.append(case)
    return cases


def jittered(batch: Batch, rng: np.random.Generator) -> Batch:
    """The batch moved by up to one cell along each axis, brightened or darkened a little, and with noise.

    What moves in from outside is padding (-1), as at the border of an acquisition. Volume and masks move
    together.
    """
    volumes, masks = batch.volumes.clone(), batch.masks.clone()
    for index in range(len(volumes)):
        moves = rng.integers(-1, 2, size=3)
        volumes[index] = _moved(volumes[index], [int(m) * c for m, c in zip(moves, CELL, strict=True)], -1.0)
        masks[index] = _moved(masks[index], [int(m) for m in moves], 0.0)
    noise = torch.from_numpy(rng.standard_normal(volumes.shape, dtype=np.float32))
    # Up to 25 HU of noise and 10 HU of calibration error, and the padding stays what it is.
    strength = torch.from_numpy(rng.uniform(0, 0.025, (len(volumes), 1, 1, 1, 1)).astype(np.float32))
    offset = torch.from_numpy(rng.uniform(-0.01, 0.01, (len(volumes), 1, 1, 1, 1)).astype(np.float32))
    changed = (volumes + noise * strength + offset).clamp(-1, 1)
    return Batch(torch.where(volumes > -1, changed, volumes), batch.labels, masks)


def _prepared(case: Case, target: InputGrid) -> PreparedGrid:
    return prepared_grid(acquisition_grid(case), _swapped(target.spacing_mm), _swapped(target.shape))


def _inside(prepared: PreparedGrid) -> tuple[slice, slice, slice]:
    """The voxels of the encoder input, (z, y, x), that the acquisition fills."""
    z, y, x = (slice(at, at + n) for at, n in zip(prepared.offset, prepared.grid.shape, strict=True))
    return z, y, x


def _swapped(values: tuple[T, T, T]) -> tuple[T, T, T]:
    """(z, x, y) to (z, y, x), or back."""
    return values[0], values[2], values[1]


def _moved(values: Tensor, steps: list[int], fill: float) -> Tensor:
    for axis, step in enumerate(steps, start=1):
        if step:
            values = values.roll(step, dims=axis)
            edge = slice(0, step) if step > 0 else slice(step, None)
            values[(slice(None),) * axis + (edge,)] = fill
    return values


def _to_levels(volume: FloatArray) -> ByteArray:
    return ((volume + 1) * (_LEVELS / 2)).round().astype(np.uint8)


def _from_levels(levels: Tensor) -> Tensor:
    return levels.float() * (2 / _LEVELS) - 1
