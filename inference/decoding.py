"""Frames of many files decoded at once, in processes of their own."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inference.pixels import DecodedFrame
from inference.reading_pool import READERS
from inference.reading_process import (
    MOST_STARTS,
    ReadingAnswer,
    ReadingError,
    ReadingInterruptedError,
    ReadingProcess,
)

_STOPPED = DecodedFrame(None, "the decoder stopped or does not answer")


@dataclass(frozen=True)
class FrameRequest:
    """Frames of one file: `frames` counts from 0."""

    path: Path
    frames: tuple[int, ...]


def decode(
    requests: Sequence[FrameRequest], *, workers: int = 2, deadline: float = math.inf
) -> Generator[tuple[DecodedFrame, ...]]:
    """The frames of every request, in order.

    Whatever is wrong with a frame costs that frame alone: a decoder that crashes, hangs or takes too much
    memory is started anew for the next one.

    Parameters
    ----------
    requests
        What to decode.
    workers
        How many processes decode at a time.
    deadline
        Of `time.monotonic`.

    Raises
    ------
    OutOfTime
        Beyond `deadline`.
    """
    yield from READERS.each(_decode, requests, workers, deadline)


def decode_frame(path: Path, frame: int) -> DecodedFrame:
    """One frame of one file, counted from 0."""
    ((decoded,),) = decode([FrameRequest(path, (frame,))])
    return decoded


def _decode(process: ReadingProcess, request: FrameRequest) -> tuple[DecodedFrame, ...]:
    decoded: list[DecodedFrame] = []
    for _ in range(MOST_STARTS):
        decoded.extend(_decode_on(process, request, request.frames[len(decoded) :]))
        if len(decoded) == len(request.frames):
            break
    return (*decoded, *[_STOPPED] * (len(request.frames) - len(decoded)))


def _decode_on(
    process: ReadingProcess, request: FrameRequest, frames: tuple[int, ...]
) -> Iterator[DecodedFrame]:
    """Frames up to the first one that costs the process, or to where someone else ended it."""
    try:
        size = request.path.stat().st_size
        process.ask("frames", request.path, frames)
        for _ in frames:
            yield _decoded(process.answer(size))
    except ReadingInterruptedError:
        return
    except OSError:
        yield DecodedFrame(None, "the file cannot be read")
    except (ReadingError, ValueError, KeyError, TypeError):
        process.close()
        yield _STOPPED


def _decoded(answer: ReadingAnswer) -> DecodedFrame:
    if not answer.found:
        return DecodedFrame(None, str(answer.about["problem"]))
    rows, columns = answer.about["shape"]
    shape = int(rows), int(columns)
    if answer.about["dtype"] == "<i2":
        return DecodedFrame(answer.content.view(np.int16).reshape(shape))
    return DecodedFrame(answer.content.view(np.float32).reshape(shape))
