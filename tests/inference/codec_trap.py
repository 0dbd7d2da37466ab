"""A codec that misbehaves on some slices, in the reading processes alone."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path

import pytest

import inference.reading_process

# Read by Python at the start of any process.
_TRAP = """
import os, sys, time


if "from inference.reading_child" in " ".join(sys.orig_argv):
    import inference.reading_process
    import inference.stored_values as target
    inference.reading_process.ANSWER_TIMEOUT_S = {seconds}
    true = target.pixel_array

    def pixel_array(dataset, **options):
        if int(dataset.InstanceNumber) in {numbers}:
            {deed}
        return true(dataset, **options)

    target.pixel_array = pixel_array
"""
DEEDS = {
    "segfault": "os.kill(os.getpid(), 11)",
    "abort": "os.abort()",
    "killed": "os.kill(os.getpid(), 9)",
    "memory": "bytearray(1 << 40)",
    "much memory": "[bytearray(1 << 28) for _ in range(1000)]",
    "silence": "time.sleep(3600)",
    "loop": "[None for _ in iter(int, 1)]",
    "nonsense": "os.write(1, b'no JSON' * 9 + chr(10).encode())",
}


def trap(folder: Path, monkeypatch: pytest.MonkeyPatch, deed: str, *numbers: int) -> None:
    """Let every process started from now on do one of `DEEDS`, or another one, at these instance numbers."""
    folder.mkdir()
    source = textwrap.dedent(_TRAP).replace("{numbers}", repr(set(numbers)))
    source = source.replace("{seconds}", str(inference.reading_process.ANSWER_TIMEOUT_S))
    (folder / "sitecustomize.py").write_text(source.replace("{deed}", DEEDS.get(deed, deed)))
    paths = [str(folder), str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.syspath_prepend(str(folder))
