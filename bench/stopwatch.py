"""Seconds of work on a device, with what was queued there waited for."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Timing:
    """Seconds of repeated work: the first run, which warms up, and those counted after the warm-up."""

    first_s: float
    counted_s: tuple[float, ...]

    @property
    def median_s(self) -> float:
        """Median of the counted runs."""
        return statistics.median(self.counted_s)


def time_work(work: Callable[[], object], device: torch.device, *, repeats: int, warm_up: int = 1) -> Timing:
    """Run `work` `warm_up` times, at least once, and then `repeats` times that count."""
    seconds = [_seconds(work, device) for _ in range(max(warm_up, 1) + repeats)]
    return Timing(seconds[0], tuple(seconds[-repeats:]))


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    # A GPU's work returns before it is done: waited for on both sides, or another's time is counted.
    _wait(device)
    started = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - started


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
