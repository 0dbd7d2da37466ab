"""Many frames decoded at once: by threads, or by processes where a codec works."""

from __future__ import annotations

import queue
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

from inference.decoding_process import DecodingProcess
from inference.pixels import DecodedFrames, FrameRequest, decode_request

PROCESSES_FROM_S = 1.5
"""Seconds of decoding from which starting processes (half a second each) pays."""


def decode(
    requests: Sequence[FrameRequest], *, seconds_a_frame: float, workers: int = 2
) -> Iterator[DecodedFrames]:
    """The frames of every request, in order.

    Parameters
    ----------
    requests
        What to decode.
    seconds_a_frame
        About how long a frame takes (`decoding_seconds`); codecs that take long run in processes.
    workers
        How many are decoded at a time.
    """
    seconds = seconds_a_frame * sum(len(request.frames) for request in requests)
    with ThreadPoolExecutor(workers) as threads:
        if seconds >= PROCESSES_FROM_S and workers > 1:
            with _processes(workers) as idle:
                yield from threads.map(lambda request: _decode_with(idle, request), requests)
        else:
            yield from threads.map(decode_request, requests)


@contextmanager
def _processes(count: int) -> Iterator[queue.SimpleQueue[DecodingProcess]]:
    """A queue of decoders, from which each thread takes one and puts it back."""
    idle: queue.SimpleQueue[DecodingProcess] = queue.SimpleQueue()
    with ExitStack() as stack:
        for _ in range(count):
            process = DecodingProcess()
            stack.callback(process.close)
            idle.put(process)
        yield idle


def _decode_with(idle: queue.SimpleQueue[DecodingProcess], request: FrameRequest) -> DecodedFrames:
    process = idle.get()
    try:
        return process(request)
    finally:
        idle.put(process)
