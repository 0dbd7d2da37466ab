"""A crop that would cut the lungs is taken around them: in a scan of the trunk, of a patient off centre."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from inference.lungs import Lungs
from inference.upright import UprightVolume

LEAST_SHARE = 0.02
"""Of their largest cross-section across an axis, from which on the lungs count: less is a tip."""

DIRECTIONS = ("feet to head", "front to back", "right to left")  # of z, y, x

Span = tuple[float, float]


@dataclass(frozen=True)
class Crop:
    """What is used along one axis: of `n` voxels, resampled to `resampled`, `kept` ones from `start` on."""

    n: int
    resampled: int
    start: int
    kept: int

    @property
    def cuts(self) -> bool:
        """Whether anything is left out."""
        return self.kept < self.resampled

    def cut_off(self, span: Span) -> float:
        """How many of the `n` voxels, of those between the two ends of `span`, are not used."""
        factor = self.n / self.resampled
        low, high = factor * self.start, factor * (self.start + self.kept)
        return max(low - span[0], 0.0) + max(span[1] - high, 0.0)

    def around(self, span: Span) -> Self:
        """As long a crop with the span in its middle, as far as there are voxels."""
        middle = (span[0] + span[1]) / 2 * self.resampled / self.n
        start = round(middle - self.kept / 2)
        return replace(self, start=min(max(start, 0), self.resampled - self.kept))


AnyCrop = TypeVar("AnyCrop", bound=Crop)


def around_lungs(
    crops: Sequence[AnyCrop], lungs: Lungs, source: UprightVolume
) -> tuple[list[AnyCrop], tuple[str, ...]]:
    """The crops along (z, y, x), those moved that would cut the lungs, and a sentence about each of these."""
    if not any(crop.cuts for crop in crops):
        return list(crops), ()
    chosen, sentences = [], []
    for crop, span, step_mm, direction in zip(
        crops, lung_spans(lungs, source), source.spacing_mm, DIRECTIONS, strict=True
    ):
        lost = crop.cut_off(span)
        if lost <= 0 or not crop.cuts:
            chosen.append(crop)
            continue
        moved = crop.around(span)
        chosen.append(moved)
        sentences.append(_sentence(crop, step_mm, direction, lost * step_mm, moved.cut_off(span) * step_mm))
    return chosen, tuple(sentences)


def _sentence(crop: Crop, step_mm: float, direction: str, lost_mm: float, left_out_mm: float) -> str:
    seen_mm = crop.kept * crop.n / crop.resampled * step_mm
    sentence = (
        f"The networks see {seen_mm:.0f} mm of the {crop.n * step_mm:.0f} mm from {direction}. Taken from"
        f" the middle of the series they would have lost {max(lost_mm, 1):.0f} mm of the lungs; they were"
        " taken around the lungs instead."
    )
    return sentence + (f" {left_out_mm:.0f} mm of the lungs do not fit." if left_out_mm >= 1 else "")


def lung_spans(lungs: Lungs, source: UprightVolume) -> tuple[Span, Span, Span]:
    """Where the lungs begin and end along (z, y, x) of an upright volume.

    In voxels, counted from the border of the first one: a lung in the first two voxels is (0, 2).
    """
    inverse = np.linalg.inv(source.to_source)
    points = (np.argwhere(lungs.left | lungs.right) + 0.5) * lungs.factors - 0.5
    places = points @ inverse[:3, :3].T + inverse[:3, 3] + 0.5
    steps = np.abs(inverse[:3, :3] * lungs.factors).max(axis=1)
    z, y, x = (
        _span(places[:, axis], float(steps[axis]), size) for axis, size in enumerate(source.voxels_hu.shape)
    )
    return z, y, x


def _span(places: NDArray[np.float64], step: float, size: int) -> Span:
    areas = np.bincount(np.clip(places / step, 0, None).astype(np.intp))
    counted = np.flatnonzero(areas >= LEAST_SHARE * areas.max())
    return float(counted[0]) * step, min(float(counted[-1] + 1) * step, float(size))
