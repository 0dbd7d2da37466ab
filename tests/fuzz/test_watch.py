"""What the watch takes for a fault, and that it keeps the input."""

from __future__ import annotations

import ctypes
import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from fuzz import watch as watching
from fuzz.target import Run, Target
from fuzz.targets import load
from fuzz.watch import Bomb, Hang, Watch


def watch(run: Run, folder: Path) -> Watch:
    target: Target = replace(load("archive"), run=run, allowance_bytes=32 << 20)
    return Watch(target, run, folder / "found", folder / "report.json")


def test_an_exception_is_kept_once_for_each_place(tmp_path: Path) -> None:
    def run(content: bytes) -> str:
        if content.startswith(b"bad"):
            raise ZeroDivisionError
        return "read"

    watched = watch(run, tmp_path)
    for content in (b"good", b"bad", b"bad again"):
        fault = watched.feed(content)
        assert (fault is None) == (content == b"good")
    watched.save()
    figures = json.loads((tmp_path / "report.json").read_text())
    assert figures["inputs"] == 3
    assert figures["outcomes"] == {"read": 1}
    assert list(figures["faults"].values()) == [2]
    kept, words = sorted((tmp_path / "found").iterdir())
    assert kept.read_bytes() == b"bad"
    assert "ZeroDivisionError" in words.read_text()


def test_what_is_no_exception_of_python_is_a_fault_too(tmp_path: Path) -> None:
    def run(_: bytes) -> str:
        raise SystemExit(3)

    assert isinstance(watch(run, tmp_path).feed(b"x"), SystemExit)


def test_an_input_that_takes_long_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "LONGEST_S", 0.01)

    def run(_: bytes) -> str:
        time.sleep(0.02)
        return "read"

    assert isinstance(watch(run, tmp_path).feed(b"x"), Hang)


def test_memory_beyond_the_allowance_is_a_fault(tmp_path: Path) -> None:
    def run(content: bytes) -> str:
        return str(len(bytearray(int(content)).replace(b"\0", b"\1")))

    ctypes.CDLL(None).malloc_trim(0)  # what an earlier test of this process freed would be taken again
    assert watch(run, tmp_path).feed(str(8 << 20).encode()) is None
    assert isinstance(watch(run, tmp_path).feed(str(128 << 20).encode()), MemoryError | Bomb)
