"""From a scene, which paints itself on a canvas, to voxels: point samples or the slices of a scanner."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from phantom.canvas import Canvas, Point
from phantom.grid import FloatArray, Grid

HuArray = npt.NDArray[np.int16]

# Slabs of about this many points stay in the processor's cache.
_SLAB_POINTS = 1_000_000
_LOWEST_HU, _HIGHEST_HU = -1024, 3071
# What a [1 2 1] / 4 filter along rows and columns leaves of white noise's standard deviation: 6 / 16.
_SOFT_NOISE = 0.375


class Scene(Protocol):
    """Something to image: a thorax, a head, a phantom."""

    @property
    def centre(self) -> Point:
        """Where the scene's own origin lies in the world, (x, y, z) in mm."""

    def paint(self, canvas: Canvas) -> None:
        """Paint everything, back to front, in the scene's own coordinates."""


@dataclass(frozen=True)
class Kernel:
    """How a series is reconstructed: `soft` smooths by about a pixel, `noise_hu` is what noise remains."""

    name: str
    soft: bool
    noise_hu: float


STANDARD = Kernel("STANDARD", soft=True, noise_hu=12.0)
LUNG = Kernel("LUNG", soft=False, noise_hu=30.0)


def slabs(scene: Scene, grid: Grid, *, labelled: bool = False) -> Iterator[Canvas]:
    """Paint the grid's slices in order, a few at a time, without noise."""
    step = max(1, _SLAB_POINTS // (grid.shape[1] * grid.shape[2]))
    for start in range(0, grid.shape[0], step):
        part = grid.slices(start, min(start + step, grid.shape[0]))
        canvas = Canvas.blank(part, scene.centre, labelled=labelled)
        scene.paint(canvas)
        yield canvas


def sample(scene: Scene, grid: Grid, noise_hu: float, rng: np.random.Generator) -> HuArray:
    """Hounsfield units at the points of a grid, int16 [z, y, x], with white noise of `noise_hu`."""
    volume = np.empty(grid.shape, dtype=np.int16)
    first = 0
    for canvas in slabs(scene, grid):
        _add_noise(canvas.hu, noise_hu, rng)
        volume[first : first + canvas.hu.shape[0]] = _to_hounsfield(canvas.hu)
        first += canvas.hu.shape[0]
    return volume


def scan(scene: Scene, grid: Grid, kernel: Kernel, rng: np.random.Generator) -> Iterator[HuArray]:
    """The slices of an acquisition from the feet up, int16 [row, column] each, as they are made."""
    for canvas in slabs(scene, grid):
        hu = canvas.hu
        # Noise of a smooth kernel is itself smooth: it goes through the same filter as the image.
        _add_noise(hu, kernel.noise_hu / _SOFT_NOISE if kernel.soft else kernel.noise_hu, rng)
        if kernel.soft:
            hu = _smooth(_smooth(hu, 1), 2)
        yield from _to_hounsfield(hu)


def _add_noise(hu: FloatArray, noise_hu: float, rng: np.random.Generator) -> None:
    if noise_hu > 0:
        noise = rng.standard_normal(hu.shape, dtype=np.float32)
        noise *= np.float32(noise_hu)
        hu += noise


def _smooth(hu: FloatArray, axis: int) -> FloatArray:
    """[1 2 1] / 4 along one axis, the border repeated."""
    lines = np.swapaxes(hu, 0, axis)
    result = np.float32(0.5) * lines
    quarter = np.float32(0.25) * lines
    result[1:] += quarter[:-1]
    result[:1] += quarter[:1]
    result[:-1] += quarter[1:]
    result[-1:] += quarter[-1:]
    return np.swapaxes(result, 0, axis)


def _to_hounsfield(hu: FloatArray) -> HuArray:
    """Round to whole Hounsfield units within twelve bits, in place."""
    np.clip(hu, _LOWEST_HU, _HIGHEST_HU, out=hu)
    np.rint(hu, out=hu)
    return hu.astype(np.int16)
