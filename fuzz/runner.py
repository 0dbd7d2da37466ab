"""Runs engines in processes of their own, again where an input ended one, and says what came of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fuzz.corpus_files import write_seeds
from fuzz.scratch import folder_in_memory
from fuzz.targets import load

ENGINES = ("coverage_guided", "property_based")
_GRACE_S = 900
"""For a start on a busy machine, and for an input in work when the time is over."""

_ENVIRONMENT = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "OMP_NUM_THREADS": "1",
    "RUST_BACKTRACE": "0",
    "PYTHONWARNINGS": "ignore",
}


@dataclass
class Figures:
    """What one engine did with one target; `ended` counts inputs that ended the whole process."""

    target: str
    engine: str
    inputs: int = 0
    seconds: float = 0.0
    slowest_s: float = 0.0
    most_bytes: int = 0
    ended: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)

    def add(self, report: dict[str, Any]) -> None:
        """Add what one process reported."""
        self.inputs += report["inputs"]
        self.seconds += report["seconds"]
        self.slowest_s = max(self.slowest_s, report["slowest_s"])
        self.most_bytes = max(self.most_bytes, report["most_bytes"])
        self.outcomes.update(report["outcomes"])
        self.faults.update(report["faults"])

    @property
    def row(self) -> str:
        """A row of the table."""
        rate = self.inputs / self.seconds if self.seconds else 0.0
        return (
            f"| {self.target} | {self.engine} | {self.inputs:,} | {self.seconds:.0f} | {rate:.1f}"
            f" | {self.slowest_s:.2f} | {self.most_bytes >> 20} | {self.faults.total() + self.ended} |"
        )


def run_all(
    targets: Sequence[str], engines: Sequence[str], seconds: int, folder: Path, seeds: Path | None
) -> int:
    """Run every engine on every target one after the other; 1 if anything was found, else 0."""
    print("| target | engine | inputs | s | inputs/s | slowest, s | most memory, MiB | faults |", flush=True)
    print("|---|---|---|---|---|---|---|---|", flush=True)
    figures = []
    for target in targets:
        write_seeds(load(target), folder / target / "seeds", seeds)
        for engine in engines:
            figures.append(_run(target, engine, seconds, folder.absolute() / target))
            print(figures[-1].row, flush=True)
    print(f"\n{sum(item.inputs for item in figures):,} inputs")
    for item in figures:
        common = ", ".join(f"{word} {count}" for word, count in item.outcomes.most_common(12))
        print(f"{item.target}, {item.engine}: {common}")
        for fault, count in item.faults.items():
            print(f"  FAULT {fault}: {count}")
    print(f"What was found is in {folder}/TARGET/found.")
    return int(any(item.faults or item.ended for item in figures))


def _run(target: str, engine: str, seconds: int, folder: Path) -> Figures:
    figures = Figures(target, engine)
    report = folder / f"{engine}.json"
    deadline = time.monotonic() + seconds
    while (left := int(deadline - time.monotonic())) > 0:
        report.unlink(missing_ok=True)
        before = figures.inputs
        status = _process(target, engine, left, folder)
        if report.exists():
            figures.add(json.loads(report.read_text()))
        if status != 0:
            figures.ended += 1
            if figures.inputs == before:  # it does not even start
                break
    return figures


def _process(target: str, engine: str, seconds: int, folder: Path) -> int:
    command = [sys.executable, "-m", f"fuzz.{engine}", target, str(folder), str(seconds)]
    with folder_in_memory() as scratch, (folder / f"{engine}.log").open("ab") as log:
        environment = {**os.environ, **_ENVIRONMENT, "TMPDIR": str(scratch)}
        try:
            return subprocess.run(  # noqa: S603  # this interpreter, our own module
                command, env=environment, stdout=log, stderr=log, timeout=seconds + _GRACE_S, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            return -1
