"""How much memory each member takes: measured once, while it reads a study."""

from __future__ import annotations

import resource
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

_PROCESS = Path("/proc/self")
_RESET_PEAK = "5"  # proc(5): sets the peak resident set size to the current one
_SAMPLE_S = 0.005


@dataclass(frozen=True)
class MemberMemory:
    """What a member needs.

    Attributes
    ----------
    member
        Its name.
    peak_bytes
        The most that was held while it ran, with all that was held before: on a GPU by torch (the networks
        too), on a CPU by the process.
    seconds
        How long it took.
    """

    member: str
    peak_bytes: int
    seconds: float


def reset_peak() -> None:
    """Let the process's peak be what it holds now.

    Raises
    ------
    OSError
        If the kernel does not offer it.
    """
    (_PROCESS / "clear_refs").write_text(_RESET_PEAK, encoding="ascii")


def peak_bytes() -> int:
    """The most that the process held since its start or the last `reset_peak`, mapped files included.

    Raises
    ------
    OSError
        If the kernel does not say.
    """
    for line in (_PROCESS / "status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) << 10
    raise OSError("/proc/self/status states no VmHWM")


class MemoryMeter:
    """Measures members one after the other, on one device."""

    def __init__(self, device: torch.device) -> None:
        self.members: list[MemberMemory] = []
        self._device = device

    @contextmanager
    def measure(self, member: str) -> Iterator[None]:
        """Add what a member takes; one that raises is not added."""
        peak = _GPUPeak(self._device) if self._device.type == "cuda" else _process_peak()
        started = time.perf_counter()
        with peak:
            yield
        seconds = time.perf_counter() - started
        self.members.append(MemberMemory(member, peak.bytes, seconds))


class _GPUPeak:
    """The most that torch held on a GPU within the block."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.bytes = 0

    def __enter__(self) -> None:
        torch.cuda.synchronize(self._device)
        torch.cuda.reset_peak_memory_stats(self._device)

    def __exit__(self, *_: object) -> None:
        torch.cuda.synchronize(self._device)
        self.bytes = torch.cuda.max_memory_allocated(self._device)


class _KernelPeak:
    """The process's peak within the block as the kernel counts it; the kernel's count starts anew."""

    def __init__(self) -> None:
        self.bytes = 0

    def __enter__(self) -> None:
        reset_peak()

    def __exit__(self, *_: object) -> None:
        self.bytes = peak_bytes()


class _SampledPeak:
    """The process's peak within the block where the kernel's count cannot be started anew."""

    def __init__(self) -> None:
        self.bytes = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="memory", daemon=True)

    def __enter__(self) -> None:
        self.bytes = _resident_bytes()
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._ended.wait(_SAMPLE_S):
            self.bytes = max(self.bytes, _resident_bytes())


def _process_peak() -> _KernelPeak | _SampledPeak:
    try:
        reset_peak()
    except OSError:
        return _SampledPeak()
    return _KernelPeak()


def _resident_bytes() -> int:
    """What the process holds now; where there is no `/proc`, the most that it ever held."""
    if (_PROCESS / "statm").exists():
        pages = int((_PROCESS / "statm").read_text(encoding="ascii").split()[1])
        return pages * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
