"""A process of its own for strangers' files: a crash, a hang or a bomb in one costs an answer, not the node.

What it says is JSON and plain bytes: nothing of it is unpickled. It is started without the parent's main
module, which would bring the networks' libraries with it, and without the node's secrets.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

ANSWER_TIMEOUT_S = 60.0
"""For one answer, by the clock; the process itself counts the seconds in which it computes."""

BYTES_A_SECOND = 5_000_000
"""Slowest disk: a large file has more time."""

MOST_STARTS = 3
"""Processes that one request may cost."""

LONGEST_LINE = 64 << 20
LARGEST_ANSWER = 1 << 30
"""Bounds of what is taken from the process, should a file have made it its own."""

_START_TIMEOUT_S = 60.0
_PIPE_BYTES = 1 << 20
_KEPT_ARRAY_BYTES = 8 << 20

What = Literal["header", "source", "frames"]


class OutOfTime(Exception):  # noqa: N818  # no fault of the process or of one file
    """The time for all files of a study is over."""


class ReadingError(Exception):
    """The process died, does not answer or answers nonsense; it has been ended."""


class ReadingInterruptedError(ReadingError):
    """Someone else ended the process (a person, a system short of memory): no file is to blame, ask again."""


def answer_seconds(size: int) -> float:
    """How long one answer about a file of so many bytes may take."""
    return ANSWER_TIMEOUT_S + size / BYTES_A_SECOND


@dataclass(frozen=True)
class ReadingAnswer:
    """What was found, if anything was; `content` are bytes that belong to it."""

    found: bool
    about: dict[str, Any]
    content: NDArray[np.uint8]


class ReadingProcess:
    """One process, started with its first request and again after it had to be ended.

    For one thread at a time. `deadline` (of `time.monotonic`) is that of the study which it reads for.
    """

    def __init__(self) -> None:
        self.deadline = math.inf
        self._process: subprocess.Popen[bytes] | None = None
        self._fresh = True
        self._unread = b""

    def start(self) -> None:
        """Start the process now, unless it runs: it gets ready by itself, in a third of a second."""
        if self._process is None:
            self._process = _start()
            self._fresh, self._unread = True, b""

    def ask(self, what: What, path: Path, frames: tuple[int, ...] = ()) -> None:
        """Send a request; `answer` then gives one answer for a header, one for each of the frames.

        Raises
        ------
        ReadingInterruptedError
            If the process cannot be started, or ended before it took the request.
        OutOfTime
            Beyond `deadline`.
        """
        if time.monotonic() > self.deadline:
            raise OutOfTime
        request = {"what": what, "path": str(path.absolute()), "frames": frames}
        try:
            if self._process is not None and self._process.poll() is not None:
                self.close()  # it ended while it was idle: no file is to blame
            self.start()
            if self._process is None or self._process.stdin is None:
                raise ReadingError("the process has no standard input")
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            self.close()
            raise ReadingInterruptedError("the process ended before the request") from error

    def answer(self, size: int) -> ReadingAnswer:
        """The next answer to a request about a file of so many bytes.

        Raises
        ------
        ReadingError
        OutOfTime
            Beyond `deadline`.
        """
        seconds = answer_seconds(size) + (_START_TIMEOUT_S if self._fresh else 0)
        deadline = min(time.monotonic() + seconds, self.deadline)
        try:
            about = json.loads(self._line(deadline))
            length = int(about["bytes"])
            if not 0 <= length <= LARGEST_ANSWER:
                raise ReadingError("the process answers nonsense")
            answer = ReadingAnswer(bool(about["found"]), about, self._content(length, deadline))
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            self.close()
            raise ReadingError("the process answers nonsense") from error
        except ReadingError as error:
            self.close()
            if time.monotonic() > self.deadline:
                raise OutOfTime from error
            raise
        self._fresh = False
        return answer

    def close(self) -> int | None:
        """End the process, if it runs; returns the status with which it ended, by itself or now."""
        if self._process is None:
            return None
        process, self._process = self._process, None
        process.kill()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):  # what was not yet sent to a dead process
                    stream.close()
        return process.wait()

    def _ended(self) -> ReadingError:
        """Why no more answers come, once there is nothing left to read."""
        # The last two come where a terminal or a supervisor ends the node together with all that it started.
        by_others = self.close() in {-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT}
        return (ReadingInterruptedError if by_others else ReadingError)("the process ended")

    def _line(self, deadline: float) -> bytes:
        parts = [self._unread]
        length = len(self._unread)
        while b"\n" not in parts[-1]:
            if length > LONGEST_LINE:
                raise ReadingError("the process answers nonsense")
            part = os.read(self._readable(deadline), _PIPE_BYTES)
            if not part:
                raise self._ended()
            parts.append(part)
            length += len(part)
        line, _, self._unread = b"".join(parts).partition(b"\n")
        return line

    def _content(self, length: int, deadline: float) -> NDArray[np.uint8]:
        content = np.empty(length, np.uint8)
        filled = min(length, len(self._unread))
        content[:filled] = np.frombuffer(self._unread[:filled], np.uint8)
        self._unread = self._unread[filled:]
        view = memoryview(content.data)
        while filled < length:
            count = os.readv(self._readable(deadline), [view[filled:]])
            if not count:
                raise self._ended()
            filled += count
        return content

    def _readable(self, deadline: float) -> int:
        """The descriptor of the answers, once there is something to read."""
        if self._process is None or self._process.stdout is None:
            raise ReadingError("the process has ended")
        descriptor = self._process.stdout.fileno()
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise ReadingError("the process does not answer")
        return descriptor


def _start() -> subprocess.Popen[bytes]:
    command = f"import sys; sys.path[:] = {sys.path!r}; from inference.reading_child import serve; serve()"
    secrets = {name for name in os.environ if name.startswith("DICOM_NODE_")}
    environment = {name: value for name, value in os.environ.items() if name not in secrets}
    # Threads of their own would take address space for nothing: each process decodes one frame at a time.
    environment |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    # Arrays of a frame are kept for the next one (mallopt(3)): mapped anew, each page of them is cleared
    # first, which takes as long as the decoding. What is larger or left over goes back to the system.
    kept = {"MALLOC_MMAP_THRESHOLD_": _KEPT_ARRAY_BYTES, "MALLOC_TRIM_THRESHOLD_": 4 * _KEPT_ARRAY_BYTES}
    environment |= {name: str(size) for name, size in kept.items()}
    process = subprocess.Popen(  # noqa: S603  # this interpreter, our own module
        [sys.executable, "-c", command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # what a codec prints may quote the file
        env=environment,
    )
    if process.stdout is not None:
        with contextlib.suppress(OSError):  # it is faster, where the system allows it
            fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    return process
