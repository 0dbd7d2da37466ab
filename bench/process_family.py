"""What this process and those that it started hold and compute."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_SAMPLE_S = 0.05


@dataclass(frozen=True)
class MemoryPeak:
    """The most that was held at a time: by this process, by all that it started, and by both together.

    Bytes of the proportional set size: what processes share is divided by those that share it.
    """

    own_bytes: int
    children_bytes: int
    together_bytes: int


def memory_peak(work: Callable[[], object]) -> MemoryPeak:
    """Do the work, which is slower for being watched, and say what it held."""
    samples = [_sample()]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_SAMPLE_S):
            samples.append(_sample())

    watcher = threading.Thread(target=watch, name="memory")
    watcher.start()
    try:
        work()
    finally:
        done.set()
        watcher.join()
    return MemoryPeak(
        own_bytes=max(own for own, _ in samples),
        children_bytes=max(children for _, children in samples),
        together_bytes=max(own + children for own, children in samples),
    )


def processor_seconds() -> float:
    """Seconds that this process and those that it started, and that live, have computed since they began.

    Unlike the time by the clock they hardly depend on what else a machine does.
    """
    return sum(map(_processor_seconds, _family(os.getpid())))


def _processor_seconds(pid: int) -> float:
    fields = _text(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()  # proc(5): those after the name
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def _sample() -> tuple[int, int]:
    own, *others = _family(os.getpid())
    return _proportional_bytes(own), sum(map(_proportional_bytes, others))


def _family(pid: int) -> list[int]:
    """A process and all that it and its children started."""
    children = [
        int(child)
        for listed in Path(f"/proc/{pid}/task").glob("*/children")
        for child in _text(listed).split()
    ]
    return [pid, *(member for child in children for member in _family(child))]


def _proportional_bytes(pid: int) -> int:
    """Memory of a process; 0 once it has ended."""
    for line in _text(Path(f"/proc/{pid}/smaps_rollup")).splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) << 10
    return 0


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return ""  # the process has ended
