"""Reading alone: a ZIP of 300 slices to encoder input, by transfer syntax; headers; lungs.

python -m bench.reading              all of it, each case in a process of its own
python -m bench.reading CASE         one case: uncompressed, jpeg-ls, jpeg-2000 or headers
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

from pydicom import dcmread
from pydicom.uid import UID, JPEG2000Lossless, JPEGLSLossless

from bench.study_archive import study_archive
from bench.tables import markdown_table
from dicom_node.settings import HttpSettings
from dicom_node.uploads import receive_zip
from inference.dicom_files import one_study, read_headers
from inference.series import choose_series
from inference.stages import Stages

FOLDER = Path("var/bench")
SLICES, SIDE = 300, 512
HEADERS, HEADERS_SIDE = 3000, 128

UNCOMPRESSED, HEADER_PASS = "uncompressed", "headers"
SYNTAXES: dict[str, UID] = {"jpeg-ls": JPEGLSLossless, "jpeg-2000": JPEG2000Lossless}
CASES = (UNCOMPRESSED, *SYNTAXES, HEADER_PASS)
WHOLE = "ZIP to encoder input"
_MEMORY_SAMPLE_S = 0.05


@dataclass(frozen=True)
class ReadingFigures:
    """What was measured of one case.

    Attributes
    ----------
    seconds
        Median of the repeats by stage. `lungs` is segmentation and densitometry; `WHOLE` holds every stage.
    first_s
        The first run, which starts the reading processes; it does not count to the medians.
    peak_bytes
        The most that this process and those it started held together (proportional set size), in a run that
        is not timed.
    """

    case: str
    files: int
    repeats: int
    seconds: dict[str, float]
    first_s: float
    peak_bytes: int


def measure_reading(case: str, repeats: int) -> ReadingFigures:
    """Time one of `CASES`; its files are made below `FOLDER` where they are not there."""
    if case == HEADER_PASS:
        files = _many_files(FOLDER / f"headers-{HEADERS}")
        return _measured(case, len(files), repeats, lambda: _header_pass(files))
    archive = study_archive(FOLDER / f"chest-{SLICES}.zip", SLICES, SIDE)
    if case != UNCOMPRESSED:
        archive = _compressed(archive, FOLDER / f"chest-{SLICES}-{case}.zip", SYNTAXES[case])
    return _measured(case, SLICES, repeats, lambda: _study(archive))


def _measured(case: str, files: int, repeats: int, work: Callable[[], dict[str, float]]) -> ReadingFigures:
    first_s = work()[WHOLE]
    with _memory_of_processes() as memory:
        work()
    runs = [work() for _ in range(repeats)]
    seconds = {stage: statistics.median(run[stage] for run in runs) for stage in runs[0]}
    return ReadingFigures(case, files, repeats, seconds, first_s, max(memory.samples))


def _study(archive: Path) -> dict[str, float]:
    """Seconds by stage of one study, as the node reads it."""
    # They load torch, which reads its environment once: `main` sets it first.
    from inference.preparation import prepare_series  # noqa: PLC0415
    from models.manifest import InputSpec  # noqa: PLC0415

    published = InputSpec((1.5, 0.75, 0.75), (240, 480, 480), 20)
    with TemporaryDirectory(dir=archive.parent) as folder:
        started = time.perf_counter()
        upload = receive_zip(archive, HttpSettings(), Path(folder))
        received = time.perf_counter()
        files = read_headers(upload.files)
        choice = choose_series(one_study(files.headers))
        chosen = time.perf_counter()
        stages = Stages()
        prepare_series(files.series(choice), choice, published, workers=os.cpu_count() or 2, stages=stages)
        whole = time.perf_counter() - started
    return {
        "unpack": received - started,
        "headers and choice": chosen - received,
        **stages.seconds,
        WHOLE: whole,
    }


def _header_pass(files: list[Path]) -> dict[str, float]:
    started = time.perf_counter()
    if len(read_headers(files).headers) != len(files):
        raise AssertionError("a file was not read")
    return {WHOLE: time.perf_counter() - started}


def _compressed(archive: Path, path: Path, syntax: UID) -> Path:
    """The same study in another transfer syntax; `path` is left as it is where it exists."""
    if path.is_file():
        return path
    unfinished = path.with_suffix(".part")
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(unfinished, "w", zipfile.ZIP_STORED) as target:
        for name in source.namelist():
            dataset = dcmread(BytesIO(source.read(name)))
            dataset.compress(syntax, generate_instance_uid=False)
            content = BytesIO()
            dataset.save_as(content, enforce_file_format=True)
            target.writestr(name, content.getvalue())
    return unfinished.rename(path)


def _many_files(folder: Path) -> list[Path]:
    """Slices of a small matrix, whose headers are those of any other, each with a UID of its own."""
    if not folder.is_dir():
        archive = study_archive(FOLDER / f"chest-{SLICES}-{HEADERS_SIDE}.zip", SLICES, HEADERS_SIDE)
        unfinished = folder.with_suffix(".part")
        unfinished.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(archive) as source:
            datasets = [dcmread(BytesIO(source.read(name))) for name in source.namelist()]
        for number in range(HEADERS):
            dataset = datasets[number % len(datasets)]
            dataset.SOPInstanceUID = f"2.25.{number + 1}"
            dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
            dataset.save_as(unfinished / f"IM{number:05d}", enforce_file_format=True)
        unfinished.rename(folder)
    return sorted(folder.iterdir())


@dataclass(frozen=True)
class _Memory:
    """Bytes that the processes held together, sampled."""

    samples: list[int] = field(default_factory=list)


@contextmanager
def _memory_of_processes() -> Iterator[_Memory]:
    memory, done = _Memory(), threading.Event()

    def sample() -> None:
        while not done.is_set():
            memory.samples.append(sum(map(_proportional_bytes, _family(os.getpid()))))
            done.wait(_MEMORY_SAMPLE_S)

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        yield memory
    finally:
        done.set()
        sampler.join()


def _family(pid: int) -> list[int]:
    """A process and all that it and its children started."""
    children = [
        int(child)
        for listed in Path(f"/proc/{pid}/task").glob("*/children")
        for child in _text(listed).split()
    ]
    return [pid, *(member for child in children for member in _family(child))]


def _proportional_bytes(pid: int) -> int:
    """Memory of a process, what it shares divided by those that share it; 0 once it has ended."""
    for line in _text(Path(f"/proc/{pid}/smaps_rollup")).splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return ""  # the process has ended


def main() -> int:
    """Measure one case and print its figures as JSON, or each in a process of its own and print a table."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read once, when torch is loaded
    parser = argparse.ArgumentParser(prog="python -m bench.reading", description=__doc__.partition("\n")[0])
    parser.add_argument("case", nargs="?", choices=CASES)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    if arguments.case is not None:
        print(json.dumps(asdict(measure_reading(arguments.case, arguments.repeats))))
        return 0
    figures = []
    for case in CASES:
        command = [sys.executable, "-m", "bench.reading", case, "--repeats", str(arguments.repeats)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        figures.append(ReadingFigures(**json.loads(done.stdout)))
    print(_table(figures))
    return 0


def _table(figures: list[ReadingFigures]) -> str:
    stages = list(figures[0].seconds)
    rows = [
        (
            item.case,
            *(f"{item.seconds[stage]:.2f}" if stage in item.seconds else "" for stage in stages),
            f"{item.first_s:.2f}",
            f"{item.peak_bytes / 1e9:.2f}",
        )
        for item in figures
    ]
    return markdown_table(("case", *stages, "first run", "peak GB"), rows)


if __name__ == "__main__":
    sys.exit(main())
