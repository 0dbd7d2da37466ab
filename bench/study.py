"""One study from its ZIP to the JSON answer, stage by stage, with the networks loaded: as a user has it."""

from __future__ import annotations

import json
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from bench.flops import stage_work
from bench.machine import Machine, Products, describe_machine, matmul_peak, product_type
from bench.study_archive import receive_study
from bench.tables import markdown_table
from dicom_node.answer import success_answer
from inference.analyse import Analyser
from inference.memory_use import peak_bytes, reset_peak
from models.precision import Precision

# The original ensemble on two cores of another machine, as the reference data that came with it state.
ORIGINAL_S = 840.0
WHOLE = "ZIP to JSON"


@dataclass(frozen=True)
class StageSpeed:
    """A stage's work and how fast it was done; `share_of_peak` is of the machine's matrix products."""

    tflop: float
    gflop_per_s: float
    share_of_peak: float


@dataclass(frozen=True)
class StudyFigures:
    """What was measured of one bundle in one precision.

    Attributes
    ----------
    load_s, first_study_s
        Verifying and loading the bundle, and the first study after that, which warms up.
    seconds
        Median of `repeats` further studies by stage; `WHOLE` is from ZIP to JSON.
    slowest_s
        The longest of those studies.
    peak_load_bytes, peak_study_bytes
        Most memory that the process held while it loaded, and afterwards, studies running.
    matmul_flop_per_s
        The machine's best matrix product in the precision, in the same process.
    speed
        By stage that computes.
    """

    machine: Machine
    bundle: str
    precision: Precision
    slices: int
    repeats: int
    load_s: float
    first_study_s: float
    seconds: dict[str, float]
    slowest_s: float
    peak_load_bytes: int
    peak_study_bytes: int
    matmul_flop_per_s: float
    speed: dict[str, StageSpeed]

    @property
    def whole_s(self) -> float:
        """Median seconds of a study."""
        return self.seconds[WHOLE]

    def table(self) -> str:
        """The figures in Markdown."""
        rows = []
        for stage, seconds in self.seconds.items():
            speed = self.speed.get(stage)
            rate = ("", "", "") if speed is None else _rate(speed)
            rows.append((stage, f"{seconds:.2f}", *rate))
        rows += [
            ("slowest of them", f"{self.slowest_s:.2f}", "", "", ""),
            ("once: verify and load", f"{self.load_s:.2f}", "", "", ""),
            ("once: first study", f"{self.first_study_s:.2f}", "", "", ""),
        ]
        title = f"{self.bundle}, {self.precision}, {self.slices} slices, median of {self.repeats}"
        return markdown_table((title, "s", "TFLOP", "GFLOP/s", "of peak"), rows)

    def summary(self) -> str:
        """Peaks of speed and memory in a sentence each."""
        return (
            f"Best matrix product in the same process: {self.matmul_flop_per_s / 1e9:.0f} GFLOP/s. "
            f"Most memory: {self.peak_load_bytes / 1e9:.2f} GB while loading, "
            f"{self.peak_study_bytes / 1e9:.2f} GB afterwards."
        )


def measure_study(
    archive: Path, bundle_folder: Path, precision: Precision, repeats: int, products: Products
) -> StudyFigures:
    """Time the study in the ZIP `archive`; `products` are timed before and after.

    The process should be a fresh one: its memory is measured, too.
    """
    device = torch.device("cpu")
    dtype = product_type(precision, device)
    peaks = [matmul_peak(dtype, device, products)]

    reset_peak()
    started = time.perf_counter()
    analyser = Analyser(bundle_folder, precision=precision)
    load_s, peak_load_bytes = time.perf_counter() - started, peak_bytes()
    reset_peak()
    (first, slices), *others = [_one_study(analyser, archive) for _ in range(1 + repeats)]
    peak_study_bytes = peak_bytes()

    peaks.append(matmul_peak(dtype, device, products))
    runs = [seconds for seconds, _ in others]
    seconds = {stage: statistics.median(run[stage] for run in runs) for stage in runs[0]}
    return StudyFigures(
        machine=describe_machine(),
        bundle=analyser.identity.name,
        precision=precision,
        slices=slices,
        repeats=repeats,
        load_s=load_s,
        first_study_s=first[WHOLE],
        seconds=seconds,
        slowest_s=max(run[WHOLE] for run in runs),
        peak_load_bytes=peak_load_bytes,
        peak_study_bytes=peak_study_bytes,
        matmul_flop_per_s=max(peaks),
        speed=_speed(analyser, seconds, max(peaks)),
    )


def _one_study(analyser: Analyser, archive: Path) -> tuple[dict[str, float], int]:
    """Seconds by stage and the number of slices of one study."""
    with TemporaryDirectory(dir=archive.parent) as folder:
        started = time.perf_counter()
        study = receive_study(archive, Path(folder))
        result = analyser.analyse(study.files.series(study.choice), study.choice)
        json.dumps(success_answer(result, time.perf_counter() - started, details=True))
        whole = time.perf_counter() - started
    stages = {**study.seconds, **result.seconds}
    between = whole - sum(stages.values())
    return {**stages, "between the stages": between, WHOLE: whole}, len(result.image_sop_instance_uids)


def _speed(analyser: Analyser, seconds: dict[str, float], peak: float) -> dict[str, StageSpeed]:
    return {
        stage: StageSpeed(
            tflop=work.total / 1e12,
            gflop_per_s=work.total / seconds[stage] / 1e9,
            share_of_peak=work.total / seconds[stage] / peak,
        )
        for stage, work in stage_work(analyser.manifest).items()
    }


def _rate(speed: StageSpeed) -> tuple[str, str, str]:
    return f"{speed.tflop:.3g}", f"{speed.gflop_per_s:.0f}", f"{speed.share_of_peak:.0%}"
