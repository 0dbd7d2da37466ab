"""A command's memory is that of the command."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bench.import_cost import measure_command

BLOCK = 400 << 20


def test_what_the_command_held_is_its_peak() -> None:
    cost = measure_command([sys.executable, "-c", f"block = b'x' * {BLOCK}"])
    assert BLOCK < cost.peak_bytes < 4 * BLOCK
    assert cost.seconds > 0


def test_a_command_that_fails_is_no_measurement() -> None:
    with pytest.raises(subprocess.CalledProcessError):
        measure_command([sys.executable, "-c", "raise SystemExit(3)"])
