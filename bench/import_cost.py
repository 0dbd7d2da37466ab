"""What importing checkpoints takes: seconds, and memory at its peak."""

from __future__ import annotations

import resource
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class CommandCost:
    """Seconds of a command that ended well, and the largest resident set of its processes."""

    seconds: float
    peak_bytes: int


def measure_command(command: Sequence[str]) -> CommandCost:
    """Run a command and wait for it; this process must be small, and have had no larger child before.

    Raises
    ------
    subprocess.CalledProcessError
        If it does not end with status 0.
    """
    started = time.perf_counter()
    subprocess.run(command, check=True)
    seconds = time.perf_counter() - started
    return CommandCost(seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss << 10)
