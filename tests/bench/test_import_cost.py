"""A command's memory is that of the command."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bench.import_cost import measure_command

BLOCK = 400 << 20


def test_what_the_command_held_is_its_peak() -> None:
    # In a small process, as `python -m bench` is: a child's peak begins with what its parent holds.
    measured = (
        "import sys; from bench.import_cost import measure_command;"
        f" cost = measure_command([sys.executable, '-c', 'block = b\\'x\\' * {BLOCK}']);"
        " print(cost.peak_bytes, cost.seconds)"
    )
    done = subprocess.run([sys.executable, "-c", measured], capture_output=True, text=True, check=True)
    peak_bytes, seconds = (float(word) for word in done.stdout.split())
    assert BLOCK < peak_bytes < 4 * BLOCK
    assert seconds > 0


def test_a_command_that_fails_is_no_measurement() -> None:
    with pytest.raises(subprocess.CalledProcessError):
        measure_command([sys.executable, "-c", "raise SystemExit(3)"])
