"""Reading processes that are kept for the next request: starting one takes a third of a second.

They hold nothing of a study between requests, and end with this process.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from inference.reading_process import ReadingProcess

MOST_IDLE = 8

Job = TypeVar("Job")
Outcome = TypeVar("Outcome")


@dataclass(frozen=True)
class ReadingPool:
    """Processes that any number of threads may borrow; as many are started as are wanted at a time."""

    _idle: list[ReadingProcess] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def process(self) -> Iterator[ReadingProcess]:
        """One process, for the caller alone."""
        with self._lock:
            process = self._idle.pop() if self._idle else ReadingProcess()
        try:
            yield process
        except BaseException:
            process.close()  # its answers may not be read to their end
            raise
        with self._lock:
            if keep := len(self._idle) < MOST_IDLE:
                self._idle.append(process)
        if not keep:
            process.close()

    def each(
        self, work: Callable[[ReadingProcess, Job], Outcome], jobs: Sequence[Job], workers: int
    ) -> Iterator[Outcome]:
        """What `work` makes of every job, in order, so many at a time; closing the iterator stops it."""

        def borrow(job: Job) -> Outcome:
            with self.process() as process:
                return work(process, job)

        with ThreadPoolExecutor(max(1, min(workers, len(jobs)))) as threads:
            yield from threads.map(borrow, jobs)

    def close(self) -> None:
        """End the processes that nobody uses."""
        with self._lock:
            idle, self._idle[:] = list(self._idle), []
        for process in idle:
            process.close()


READERS = ReadingPool()
"""The processes of this process, shared by all that read files in it; it holds nothing else."""

atexit.register(READERS.close)
# A forked copy must not speak through the same pipes.
os.register_at_fork(after_in_child=READERS._idle.clear)

WORKERS = min(os.cpu_count() or 2, 4)
"""Processes for reading headers, which are waited for more than computed."""
