"""A process of its own that decodes pixels: codecs hold Python's lock, and a stranger's file may crash one.

The process is this module run as a script. It reads one request a line on standard input (JSON) and answers
on standard output: a line of JSON with the shape and type of each frame, then the frames' bytes. It is
started without the parent's main module, which would bring the networks' libraries with it.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any

import numpy as np

from inference.pixels import DecodedFrames, FrameRequest, HounsfieldArray, decode_request

MEMORY_BYTES = 6 << 30
"""Address space of the process: a lying header must not take the machine's memory."""

FRAME_TIMEOUT_S = 10.0
"""For one frame; a decoder that hangs or dies costs the frames that it was given."""

_START_TIMEOUT_S = 60.0


class DecodingProcess:
    """One decoder; it is started with its first request and started again if it had to be ended."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def __call__(self, request: FrameRequest) -> DecodedFrames:
        """The frames of one file, as `decode_request` gives them; a crash or a hang is one more problem."""
        fresh = self._process is None
        if self._process is None:
            self._process = _start()
        process = self._process
        limit_s = FRAME_TIMEOUT_S * len(request.frames) + (_START_TIMEOUT_S if fresh else 0)
        watchdog = threading.Timer(limit_s, process.kill)
        watchdog.start()
        try:
            return _ask(process, request)
        except (OSError, ValueError, EOFError):
            self.close()
            return DecodedFrames((None,) * len(request.frames), "the decoder stopped or does not answer")
        finally:
            watchdog.cancel()

    def close(self) -> None:
        """End the process, if it runs."""
        if self._process is None:
            return
        self._process.kill()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._process.wait()
        self._process = None


def _start() -> subprocess.Popen[bytes]:
    command = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import serve; serve()"
    # What a codec prints may quote the file: it is not kept.
    return subprocess.Popen(  # noqa: S603  # this interpreter, our own module
        [sys.executable, "-c", command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def _ask(process: subprocess.Popen[bytes], request: FrameRequest) -> DecodedFrames:
    if process.stdin is None or process.stdout is None:
        raise EOFError
    question = {"path": str(request.path.absolute()), "frames": request.frames}
    process.stdin.write(json.dumps(question).encode() + b"\n")
    process.stdin.flush()
    answer = json.loads(process.stdout.readline())
    return DecodedFrames(tuple(_read(process.stdout, frame) for frame in answer["frames"]), answer["problem"])


def _read(stream: IO[bytes], frame: dict[str, Any] | None) -> HounsfieldArray | None:
    if frame is None:
        return None
    kind = np.dtype(frame["dtype"])
    rows, columns = frame["shape"]
    content = stream.read(rows * columns * kind.itemsize)
    if len(content) < rows * columns * kind.itemsize:
        raise EOFError
    values: HounsfieldArray = np.frombuffer(content, kind).reshape(rows, columns)
    return values


def serve() -> None:
    """Answer requests until standard input ends."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    answers = sys.stdout.buffer
    sys.stdout = sys.stderr  # a codec that prints must not do it into the answers
    for line in sys.stdin.buffer:
        question = json.loads(line)
        decoded = decode_request(FrameRequest(Path(question["path"]), tuple(question["frames"])))
        frames = [
            None if frame is None else {"shape": frame.shape, "dtype": frame.dtype.str}
            for frame in decoded.frames
        ]
        answers.write(json.dumps({"problem": decoded.problem, "frames": frames}).encode() + b"\n")
        for values in decoded.frames:
            if values is not None:
                answers.write(np.ascontiguousarray(values).data)
        answers.flush()
