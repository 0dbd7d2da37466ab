"""The reading of strangers' files without processes of its own, so that its branches can be watched.

What `inference.reading_child` would answer is answered here, by the same functions and through the same JSON.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast
from unittest import mock

import numpy as np

import inference.decoding
import inference.dicom_files
from inference.reading_child import Answer, answers_about
from inference.reading_pool import ReadingPool
from inference.reading_process import ReadingAnswer, ReadingProcess, What

Job = TypeVar("Job")
Outcome = TypeVar("Outcome")


class _Reader:
    """Stands for a `ReadingProcess`."""

    def __init__(self) -> None:
        self._answers: Iterator[Answer] = iter(())

    def ask(self, what: What, path: Path, frames: tuple[int, ...] = ()) -> None:
        self._answers = answers_about(what, path, list(frames))

    def answer(self, _size: int) -> ReadingAnswer:
        about, content = next(self._answers)
        said: dict[str, Any] = json.loads(json.dumps({**about, "bytes": len(content)}))
        return ReadingAnswer(bool(said["found"]), said, np.frombuffer(content, np.uint8))

    def close(self) -> None:
        self._answers = iter(())


class _Pool:
    """Stands for a `ReadingPool`."""

    def each(
        self,
        work: Callable[[ReadingProcess, Job], Outcome],
        jobs: Sequence[Job],
        _workers: int,
        _deadline: float = math.inf,
    ) -> Iterator[Outcome]:
        for job in jobs:
            yield work(cast("ReadingProcess", _Reader()), job)


@contextmanager
def reading_in_process() -> Iterator[None]:
    """Let this process read, as long as the context lasts."""
    pool = cast("ReadingPool", _Pool())
    with (
        mock.patch.object(inference.dicom_files, "READERS", pool),
        mock.patch.object(inference.decoding, "READERS", pool),
    ):
        yield
