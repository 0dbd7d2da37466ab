"""How long each stage of a study took, and how far the study has come."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[str, float], None]
"""Called with a stage's name and the share of the study's work that is done, 0 to 1."""

# Share of a study's time on CPU with the demonstration bundle; it only shapes a progress bar.
WEIGHTS = {
    "read": 0.2,
    "prepare": 0.1,
    "lungs": 0.1,
    "ctclip": 0.1,
    "supervised": 0.02,
    "diffusion": 0.4,
    "saliency": 0.05,
    "fusion": 0.03,
}


class Stages:
    """A recorder of seconds by stage, in the order in which they first ran."""

    def __init__(self, progress: Progress | None = None) -> None:
        self.seconds: dict[str, float] = {}
        self._progress = progress
        self._done = 0.0

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Time a stage; a stage that runs twice is summed."""
        self._report(stage)
        started = time.perf_counter()
        try:
            yield
        finally:
            if stage not in self.seconds:
                self._done = min(self._done + WEIGHTS.get(stage, 0.0), 1.0)
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - started
            self._report(stage)

    def _report(self, stage: str) -> None:
        if self._progress is not None:
            self._progress(stage, self._done)
