"""The process that parses and decodes strangers' files; it is started by `inference.reading_process`.

It reads one request a line on standard input (JSON: what to do, and the file) and answers on standard output:
for each thing asked for a line of JSON that ends with the number of bytes that follow it, and those bytes.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from inference.header_json import header_to_json
from inference.header_parsing import parse_header, source_header
from inference.pixels import decode_frames
from inference.reading_process import answer_seconds

MEMORY_BYTES = 6 << 30
"""Most address space that the process may take, whatever the size of the file."""

MEMORY_ALLOWANCE = 1 << 30
MEMORY_FOR_EACH_BYTE = 4
"""Beyond what it has, a request may take the allowance and so much for each byte of its file."""

CPU_SECONDS = 10
"""For one answer; a large file has more time. The system ends a decoder in a loop."""

BYTES_A_SECOND = 20_000_000

Answer = tuple[dict[str, Any], bytes | memoryview]
_NOTHING: Answer = ({"found": False}, b"")


def serve() -> None:
    """Answer requests until standard input ends."""
    answers = sys.stdout.buffer
    sys.stdout = sys.stderr  # a codec that prints must not do it into the answers
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # it would hold a patient's images
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    for line in sys.stdin.buffer:
        request = json.loads(line)
        path = Path(request["path"])
        size = _size(path)
        _limit_memory(size)
        _limit_time(size)
        for answer in answers_about(request["what"], path, request["frames"]):
            signal.alarm(0)  # the node may take its time; where it is gone, this writes to nobody and ends
            _write(answers, answer)
            _limit_time(size)
        signal.alarm(0)


def answers_about(what: str, path: Path, frames: list[int]) -> Iterator[Answer]:
    """One answer about a header, or one about each of the frames; the bytes belong to what is said."""
    yield from _HANDLERS[what](path, frames)


def _header(path: Path, _: list[int]) -> Iterator[Answer]:
    header = parse_header(path)
    yield _NOTHING if header is None else ({"found": True, "header": header_to_json(header)}, b"")


def _source(path: Path, _: list[int]) -> Iterator[Answer]:
    header = source_header(path)
    if header is None:
        yield _NOTHING
    else:
        about = {"found": True, "implicit_vr": header.implicit_vr, "little_endian": header.little_endian}
        yield about, header.content


def _frames(path: Path, frames: list[int]) -> Iterator[Answer]:
    for decoded in decode_frames(path, frames):
        if decoded.hu is None:
            yield {"found": False, "problem": decoded.problem}, b""
        else:
            values = np.ascontiguousarray(decoded.hu)
            yield {"found": True, "shape": values.shape, "dtype": values.dtype.str}, values.data.cast("B")


_HANDLERS: dict[str, Callable[[Path, list[int]], Iterator[Answer]]] = {
    "header": _header,
    "source": _source,
    "frames": _frames,
}


def _write(stream: BinaryIO, answer: Answer) -> None:
    about, content = answer
    stream.write(json.dumps({**about, "bytes": len(content)}).encode() + b"\n")
    stream.write(content)
    stream.flush()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # the reading of it says so


def _limit_memory(size: int) -> None:
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    wanted = taken + MEMORY_ALLOWANCE + MEMORY_FOR_EACH_BYTE * size
    resource.setrlimit(resource.RLIMIT_AS, (min(wanted, MEMORY_BYTES), resource.RLIM_INFINITY))


def _limit_time(size: int) -> None:
    """Let the system end this process where an answer takes too long, whether it computes or sleeps.

    The node ends one that sleeps; this is for the one whose node was killed meanwhile.
    """
    signal.alarm(int(answer_seconds(size)) + 1)
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = used.ru_utime + used.ru_stime + CPU_SECONDS + size / BYTES_A_SECOND
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, resource.RLIM_INFINITY))
