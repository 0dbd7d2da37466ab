"""Queued studies as the node works on them: how long the networks wait between two of them.

Several studies are in work at a time, and the networks read one of them: the others are prepared meanwhile. A
trace records when each study was prepared and when the networks had it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from inference.analyse import Analyser
from inference.dicom_files import read_headers
from inference.series import choose_series

COMPUTING = frozenset({"ctclip", "supervised", "diffusion", "saliency"})
"""The stages of a study in which the networks are its own."""

_WIDTH = 60  # characters of a bar


@dataclass(frozen=True)
class Interval:
    """Seconds since the first study was begun."""

    start_s: float
    end_s: float

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.end_s - self.start_s


@dataclass(frozen=True)
class TracedStudy:
    """One study: `prepare` from its first file to the encoder input, `networks` the time they read it."""

    prepare: Interval
    networks: Interval


@dataclass(frozen=True)
class QueueTrace:
    """What became of the studies of a queue, in the order in which the networks had them."""

    concurrency: int
    studies: tuple[TracedStudy, ...]

    @property
    def idle_share(self) -> float:
        """Share of the time between the networks' first and last moment in which they read no study.

        All studies are queued from the beginning, so that there is work at every moment of it.
        """
        busy = sum(study.networks.seconds for study in self.studies)
        return 1 - busy / (self.studies[-1].networks.end_s - self.studies[0].networks.start_s)

    @property
    def studies_per_hour(self) -> float:
        """How many the networks ended, from the beginning of the first to the end of the last."""
        return 3600 * len(self.studies) / self.studies[-1].networks.end_s

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types only."""
        return {
            "concurrency": self.concurrency,
            "idle_share": self.idle_share,
            "studies_per_hour": self.studies_per_hour,
            "studies": [asdict(study) for study in self.studies],
        }

    def table(self) -> Table:
        """A line for each study: what was done when, and a bar of it."""
        table = Table(
            title=f"{self.concurrency} at a time: networks idle {self.idle_share:.1%},"
            f" {self.studies_per_hour:.0f} studies an hour (- prepared, # read by the networks)"
        )
        for name in ("study", "prepared, s", "networks, s"):
            table.add_column(name, justify="right")
        table.add_column("time", no_wrap=True)
        end_s = self.studies[-1].networks.end_s
        for number, study in enumerate(self.studies, start=1):
            intervals = (study.prepare, study.networks)
            spans = (f"{item.start_s:.2f} to {item.end_s:.2f}" for item in intervals)
            table.add_row(str(number), *spans, _bar(study, end_s))
        return table


def trace_queue(analyser: Analyser, paths_by_study: Sequence[Sequence[Path]], concurrency: int) -> QueueTrace:
    """Analyse studies from a queue, `concurrency` of them in work at a time; 1 is one after the other.

    Parameters
    ----------
    analyser
        Warmed up, so that the first study takes no longer than the others.
    paths_by_study
        The files of each study.
    concurrency
        As `worker.concurrency` of the node.

    Raises
    ------
    inference.errors.Refusal
        If a study cannot be read.
    """
    started = time.perf_counter()

    def one_study(paths: Sequence[Path]) -> TracedStudy:
        begun = time.perf_counter()
        moments: dict[bool, list[float]] = {False: [], True: []}

        def stage_begins_or_ends(stage: str, _share: float) -> None:
            if stage != "fusion":
                moments[stage in COMPUTING].append(time.perf_counter())

        files = read_headers(paths)
        choice = choose_series(files.headers)
        analyser.analyse(files.series(choice), choice, progress=stage_begins_or_ends)
        prepared, computed = moments[False], moments[True]
        return TracedStudy(
            prepare=Interval(begun - started, prepared[-1] - started),
            networks=Interval(computed[0] - started, computed[-1] - started),
        )

    with ThreadPoolExecutor(concurrency) as threads:
        studies = list(threads.map(one_study, paths_by_study))
    return QueueTrace(concurrency, tuple(sorted(studies, key=lambda study: study.networks.start_s)))


def _bar(study: TracedStudy, end_s: float) -> str:
    marks = [" "] * _WIDTH
    for interval, mark in ((study.prepare, "-"), (study.networks, "#")):
        first, last = (round(moment / end_s * (_WIDTH - 1)) for moment in (interval.start_s, interval.end_s))
        marks[first : last + 1] = mark * (last + 1 - first)
    return "".join(marks)
