"""Checkpoints: a killed run goes on at its last one and ends as if it had not been killed."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

log = logging.getLogger(__name__)


class Checkpoint:
    """One file, replaced as a whole, with whatever `state_dict`s a run needs."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> dict[str, Any] | None:
        """What was saved last, None at the start of a run."""
        if not self._path.exists():
            return None
        state: dict[str, Any] = torch.load(self._path, weights_only=True)
        return state

    def save(self, state: dict[str, Any]) -> None:
        """Write beside, then replace: a kill in between leaves the old checkpoint whole."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        beside = self._path.with_suffix(".new")
        torch.save(state, beside)
        beside.replace(self._path)


@dataclass(frozen=True)
class WarmCosine:
    """Learning rate over a run: linear rise for `warmup` steps, then half a cosine down to a hundredth."""

    peak: float
    warmup: int
    steps: int

    def at(self, step: int) -> float:
        """The rate of step `step`, counted from 0."""
        if step < self.warmup:
            return self.peak * (step + 1) / self.warmup
        progress = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


class Journal:
    """Lines of JSON beside the checkpoint and in the log: what was measured at which step."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, **values: float | int | str | dict[str, float]) -> None:
        """Append one line."""
        line = json.dumps(values)
        log.info("%s", line)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as journal:
            journal.write(line + "\n")

    def lines(self) -> Iterator[dict[str, Any]]:
        """What was written, oldest first."""
        if self._path.exists():
            for line in self._path.read_text(encoding="utf-8").splitlines():
                yield json.loads(line)
