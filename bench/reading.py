"""Reading alone: a study from its ZIP to encoder input by transfer syntax, and headers of many files."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.coded_studies import coded_study, enhanced_study, folder_study, small_files
from bench.machine import Machine, describe_machine
from bench.plain_way import plain_encoder_input, plain_headers
from bench.process_family import MemoryPeak, memory_peak, processor_seconds
from bench.reading_cases import ENHANCED, HEADERS, REAL, UNCOMPRESSED
from bench.study_archive import receive_study, study_archive
from bench.tables import markdown_table
from dicom_node.settings import HttpSettings
from dicom_node.uploads import receive_zip
from inference.allocator import keep_freed_memory
from inference.dicom_files import read_headers
from inference.preparation import prepare_series
from inference.reading_pool import READERS
from inference.reading_process import ReadingProcess
from inference.stages import Stages
from models.manifest import InputSpec
from models.published import PUBLISHED_INPUT

WHOLE = "ZIP to encoder input"
_MANY, _MANY_SLICES, _MANY_SIDE = 3000, 300, 128


@dataclass(frozen=True)
class ReadingFigures:
    """What was measured of one case.

    Attributes
    ----------
    files, slices
        In the ZIP, and of the volume; no slices where headers alone are read.
    start_s
        From the start of the reading processes until they answer; a node does that while it loads networks.
    first_s
        The first study after that.
    seconds
        By stage, of the fastest of the repeats. `lungs` is segmentation and densitometry; `WHOLE` holds
        every stage.
    median_s
        `WHOLE`, median of the repeats.
    first_processor_s, processor_s
        Processor seconds of the first study and the fewest of the repeats, node and readers together.
    plain_s
        The plain way in the same process (`bench.plain_way`), the fastest of its runs; None where it cannot.
    memory
        Of a run that is not timed.
    """

    machine: Machine
    case: str
    files: int
    slices: int
    repeats: int
    start_s: float
    first_s: float
    seconds: dict[str, float]
    median_s: float
    first_processor_s: float
    processor_s: float
    plain_s: float | None
    memory: MemoryPeak

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ReadingFigures:
        """Figures that were written as JSON."""
        return cls(**{**data, "machine": Machine(**data["machine"]), "memory": MemoryPeak(**data["memory"])})

    @property
    def whole_s(self) -> float:
        """The fastest of the repeats."""
        return self.seconds[WHOLE]


@dataclass(frozen=True)
class Work:
    """A case: its files, how it is read (seconds by stage, and slices), and the plain way to read it."""

    files: int
    read: Callable[[], tuple[dict[str, float], int]]
    plain: Callable[[], object] | None


def reading_work(
    case: str, folder: Path, data: Path | None, slices: int = 300, spec: InputSpec = PUBLISHED_INPUT
) -> Work:
    """One of `bench.reading_cases.CASES`; what it reads is made below `folder` where it is not there.

    Parameters
    ----------
    data
        Folder of test data; only real studies need it.

    Raises
    ------
    FileNotFoundError
        If an encoder is not installed, or real images are not there.
    """
    if case == HEADERS:
        many = study_archive(folder / f"chest-{_MANY_SLICES}-{_MANY_SIDE}.zip", _MANY_SLICES, _MANY_SIDE)
        files = small_files(many, folder / f"headers-{_MANY}", _MANY)
        return Work(len(files), lambda: _headers(files), lambda: plain_headers(files))
    if case in REAL:
        if data is None or not (data / REAL[case]).is_dir():
            raise FileNotFoundError("its images are not at hand (--data)")
        archive = folder_study(data / REAL[case], folder / f"{case}.zip")
    else:
        archive = study_archive(folder / f"chest-{slices}.zip", slices)
        if case == ENHANCED:
            archive = enhanced_study(archive, folder / f"chest-{slices}-{case}.zip")
        elif case != UNCOMPRESSED:
            archive = coded_study(archive, folder / f"chest-{slices}-{case}.zip", case)
    with TemporaryDirectory(dir=archive.parent) as unpacked:
        count = len(receive_zip(archive, HttpSettings(), Path(unpacked)).files)
    plain = None if case == ENHANCED else lambda: plain_encoder_input(archive, spec)
    return Work(count, lambda: _study(archive, spec), plain)


def measure_reading(case: str, work: Work, repeats: int, plain_repeats: int = 2) -> ReadingFigures:
    """Time a case in this process, which should be a fresh one: its first study is measured, too."""
    keep_freed_memory()  # as a node does
    start_s = _start_readers(os.cpu_count() or 2)
    computed = processor_seconds()
    first, slices = work.read()
    first_processor_s = processor_seconds() - computed
    memory = memory_peak(work.read)
    plain: list[float] = []
    processor: list[float] = []
    runs: list[dict[str, float]] = []
    for number in range(repeats):
        computed = processor_seconds()
        runs.append(work.read()[0])
        processor.append(processor_seconds() - computed)
        if work.plain is not None and number < plain_repeats:  # close to each other: other work disturbs both
            plain.append(_seconds(work.plain))
    return ReadingFigures(
        machine=describe_machine(),
        case=case,
        files=work.files,
        slices=slices,
        repeats=repeats,
        start_s=start_s,
        first_s=first[WHOLE],
        seconds=min(runs, key=lambda run: run[WHOLE]),
        median_s=statistics.median(run[WHOLE] for run in runs),
        first_processor_s=first_processor_s,
        processor_s=min(processor),
        plain_s=min(plain, default=None),
        memory=memory,
    )


def speed_table(figures: Sequence[ReadingFigures]) -> str:
    """Seconds by stage of the fastest run of every case, in Markdown."""
    stages = list(dict.fromkeys(stage for item in figures for stage in item.seconds if stage != WHOLE))
    rows = [
        (
            item.case,
            str(item.files),
            *(f"{item.seconds[stage]:.2f}" if stage in item.seconds else "" for stage in stages),
            f"{item.whole_s:.2f}",
            f"{item.median_s:.2f}",
            f"{item.processor_s:.2f}",
        )
        for item in figures
    ]
    return markdown_table(("fastest run, s", "files", *stages, "whole", "median", "processor"), rows)


def cost_table(figures: Sequence[ReadingFigures]) -> str:
    """First study, comparison with the plain way, and memory, in Markdown."""
    rows = [
        (
            item.case,
            f"{item.start_s:.2f}",
            f"{item.first_s:.2f}",
            f"{item.first_processor_s:.2f}",
            *(
                ("", "")
                if item.plain_s is None
                else (f"{item.plain_s:.2f}", f"{item.plain_s / item.whole_s:.1f}")
            ),
            *(
                f"{size / 1e9:.2f}"
                for size in (item.memory.own_bytes, item.memory.children_bytes, item.memory.together_bytes)
            ),
        )
        for item in figures
    ]
    header = (
        "",
        "start, s",
        "first, s",
        "its processor, s",
        "plain way, s",
        "times",
        "node, GB",
        "readers, GB",
        "both, GB",
    )
    return markdown_table(header, rows)


def _study(archive: Path, spec: InputSpec) -> tuple[dict[str, float], int]:
    """Seconds by stage of one study, as the node reads it, and its slices."""
    with TemporaryDirectory(dir=archive.parent) as folder:
        started = time.perf_counter()
        received = receive_study(archive, Path(folder))
        stages = Stages()
        workers = os.cpu_count() or 2
        files = received.files.series(received.choice)
        study = prepare_series(files, received.choice, spec, workers=workers, stages=stages)
        whole = time.perf_counter() - started
    seconds = {**received.seconds, **stages.seconds, WHOLE: whole}
    return seconds, len(study.volume.voxels_hu)


def _headers(files: Sequence[Path]) -> tuple[dict[str, float], int]:
    started = time.perf_counter()
    if len(read_headers(files).headers) != len(files):
        raise AssertionError("a file was not read")
    seconds = time.perf_counter() - started
    return {"headers and choice": seconds, WHOLE: seconds}, 0


def _start_readers(count: int) -> float:
    """Seconds until so many reading processes were started and answered."""

    def greet(process: ReadingProcess, _: int) -> None:
        process.ask("header", Path(os.devnull))
        process.answer(0)

    def start() -> None:
        READERS.start(count)
        for _ in READERS.each(greet, range(count), count):
            pass  # an exception of a thread is raised here

    return _seconds(start)


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
