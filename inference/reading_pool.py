"""Reading processes that are kept for the next request: starting one takes a third of a second.

They hold nothing of a study between requests, and end with this process.
"""

from __future__ import annotations

import atexit
import math
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

    def start(self, count: int) -> None:
        """Let at least so many processes wait for requests, up to `MOST_IDLE`, before there are any."""
        with self._lock:
            missing = min(count, MOST_IDLE) - len(self._idle)
        processes = [ReadingProcess() for _ in range(missing)]
        for process in processes:
            process.start()
        with self._lock:
            self._idle.extend(processes)

    @contextmanager
    def process(self, deadline: float = math.inf) -> Iterator[ReadingProcess]:
        """One process, for the caller alone, which does nothing beyond `deadline` (of `time.monotonic`)."""
        with self._lock:
            process = self._idle.pop() if self._idle else ReadingProcess()
        process.deadline = deadline
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
        self,
        work: Callable[[ReadingProcess, Job], Outcome],
        jobs: Sequence[Job],
        workers: int,
        deadline: float = math.inf,
    ) -> Iterator[Outcome]:
        """What `work` makes of every job, in order, so many at a time; closing the iterator stops it.

        Raises
        ------
        OutOfTime
            Beyond `deadline` (of `time.monotonic`).
        """

        def borrow(job: Job) -> Outcome:
            with self.process(deadline) as process:
                return work(process, job)

        with ThreadPoolExecutor(max(1, min(workers, len(jobs)))) as threads:
            yield from threads.map(borrow, jobs)

    def close(self) -> None:
        """End the processes that nobody uses."""
        with self._lock:
            idle, self._idle[:] = list(self._idle), []
        for process in idle:
            process.close()

    def register_at_fork(self) -> None:
        """Let a forked copy begin with no process: it must not speak through the pipes of this one."""
        os.register_at_fork(
            before=self._lock.acquire, after_in_parent=self._lock.release, after_in_child=self._forget
        )

    def _forget(self) -> None:
        self._idle.clear()
        self._lock.release()


READERS = ReadingPool()
"""The processes of this process, shared by all that read files in it; it holds nothing else."""

atexit.register(READERS.close)
READERS.register_at_fork()

WORKERS = min(os.cpu_count() or 2, 4)
"""Processes for reading headers, which are waited for more than computed."""
