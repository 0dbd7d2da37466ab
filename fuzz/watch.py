"""One input after another: how long each takes, how much memory, what became of it, and what went wrong."""

from __future__ import annotations

import hashlib
import json
import resource
import time
import traceback
from collections import Counter
from pathlib import Path

from fuzz.target import Run, Target

LONGEST_S = 10.0
"""An input that takes longer hangs."""

MEMORY_FOR_EACH_BYTE = 8
_THREADS_BYTES = 2 << 30
"""Address space, not memory, that threads reserve for their stacks and heaps."""

_SAVE_EVERY_S = 2.0


class Hang(Exception):  # noqa: N818  # a finding, as the next one
    """An input took too long."""


class Bomb(Exception):  # noqa: N818
    """An input took more memory than its size allows."""


class Watch:
    """Runs inputs and keeps count; what goes wrong is saved to `found` once for each place in the code.

    With `limited`, the address space of this process is bounded during an input too.
    """

    def __init__(self, target: Target, run: Run, found: Path, report: Path, *, limited: bool = True) -> None:
        self._limited = limited
        self._target = target
        self._run = run
        self._found = found
        self._report = report
        self._started = self._saved = time.monotonic()
        self._outcomes: Counter[str] = Counter()
        self._faults: Counter[str] = Counter()
        self._slowest_s = 0.0
        self._most_bytes = 0
        found.mkdir(parents=True, exist_ok=True)

    def feed(self, content: bytes) -> BaseException | None:
        """Run one input; a fault is recorded and returned, and not raised."""
        fault = None
        try:
            self._outcomes[self._measured(content)] += 1
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001  # whatever it is, it is what is looked for
            fault = error
            self._fault(content, error)
        if time.monotonic() - self._saved > _SAVE_EVERY_S:
            self.save()
        return fault

    def save(self) -> None:
        """Write the figures so far, should the next input end the process."""
        self._saved = time.monotonic()
        figures = {
            "inputs": self._outcomes.total() + self._faults.total(),
            "seconds": self._saved - self._started,
            "slowest_s": self._slowest_s,
            "most_bytes": self._most_bytes,
            "outcomes": dict(self._outcomes.most_common()),
            "faults": dict(self._faults),
        }
        self._report.write_text(json.dumps(figures))

    def _measured(self, content: bytes) -> str:
        before = _reset_peak()
        allowed = self._target.allowance_bytes + MEMORY_FOR_EACH_BYTE * len(content)
        former, most = resource.getrlimit(resource.RLIMIT_AS)
        if self._limited:
            resource.setrlimit(resource.RLIMIT_AS, (_status("VmSize") + _THREADS_BYTES + allowed, most))
        started = time.monotonic()
        try:
            outcome = self._run(content)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (former, most))
        seconds = time.monotonic() - started
        self._slowest_s = max(self._slowest_s, seconds)
        if seconds > LONGEST_S:
            raise Hang(f"{seconds:.1f} s")
        taken = _peak() - before
        self._most_bytes = max(self._most_bytes, taken)
        if taken > allowed:
            raise Bomb(f"{taken >> 20} MiB for {len(content)} bytes")
        return outcome

    def _fault(self, content: bytes, error: BaseException) -> None:
        frames = traceback.extract_tb(error.__traceback__)
        place = f"{Path(frames[-1].filename).stem}-{frames[-1].lineno}"
        name = f"{type(error).__name__}-{place}"
        self._faults[name] += 1
        if self._faults[name] == 1:
            digest = hashlib.sha256(content).hexdigest()[:12]
            (self._found / f"{name}-{digest}").write_bytes(content)
            (self._found / f"{name}-{digest}.txt").write_text(
                "".join(traceback.format_exception(error)), encoding="utf-8", errors="replace"
            )
            self.save()


def _reset_peak() -> int:
    """Let the kernel forget the most memory that this process had; what it has now, in bytes."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _peak() -> int:
    return _status("VmHWM")


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) << 10
    raise OSError(f"the kernel does not say {name}")
