"""A queue over the measured study, and the command that prints its trace."""

from __future__ import annotations

from pathlib import Path

from bench.queue import measure_queue


def test_every_queued_study_is_traced(archive: Path, tiny_bundle: Path) -> None:
    trace = measure_queue(archive, tiny_bundle, "cpu", "float32", studies=3, concurrency=2)
    assert len(trace.studies) == 3
    assert trace.concurrency == 2
    assert 0 <= trace.idle_share < 1
    assert trace.studies_per_hour > 0
