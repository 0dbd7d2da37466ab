"""One synthetic study of 512 x 512 from files to answer, stage by stage, and what sharing the work saves.

The prototype that this project replaces prepared the volume anew for each member and encoded the image once
for each prompt. The ratios say, in the same run, how many times longer that takes here.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from inference.analyse import Analyser
from inference.dicom_files import files_below, read_headers
from inference.encoder_input import encoder_input
from inference.series import choose_series
from inference.volume import read_volume
from models.bundle import Bundle, load_bundle
from phantom.cases import DEMO_CASES
from phantom.studies import chest_study


def measure_study(bundle_folder: Path, repeats: int) -> dict[str, float]:
    """Seconds of each stage (median of `repeats` after one warm-up) and the ratios."""
    with TemporaryDirectory() as folder:
        started = time.perf_counter()
        for number, dataset in enumerate(chest_study(DEMO_CASES[1]).datasets()):
            dataset.save_as(Path(folder) / f"{number:04d}.dcm", enforce_file_format=True)
        figures = {"phantom: render and write": time.perf_counter() - started}

        started = time.perf_counter()
        analyser = Analyser(bundle_folder)
        figures["networks: load once"] = time.perf_counter() - started

        paths = files_below(Path(folder))
        figures |= _stages(analyser, paths, repeats)
        figures |= _ratios(load_bundle(bundle_folder), paths, repeats)
    return figures


def _stages(analyser: Analyser, paths: list[Path], repeats: int) -> dict[str, float]:
    runs: list[dict[str, float]] = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        files = read_headers(paths)
        choice = choose_series(files.headers)
        headers = time.perf_counter() - started
        result = analyser.analyse(files.series(choice), choice)
        whole = time.perf_counter() - started
        runs.append({"headers": headers, **result.seconds, "whole study": whole})
    measured = runs[1:]
    return {f"study: {stage}": statistics.median(run[stage] for run in measured) for stage in measured[0]}


def _ratios(bundle: Bundle, paths: list[Path], repeats: int) -> dict[str, float]:
    volume = read_volume(paths)
    spec = bundle.manifest.input
    tensor = encoder_input(volume, spec).tensor[None, None]
    tower = next(iter(bundle.towers.values()))
    head, latents = bundle.ctclip, bundle.text_latents
    if head is None or latents is None:
        return {}
    members = sum(
        member is not None
        for member in (
            bundle.manifest.members.ctclip,
            bundle.manifest.members.supervised,
            bundle.slice_classifier,
        )
    )

    def one_pass() -> None:
        head(tower(tensor), latents)

    def pass_a_prompt() -> None:
        for pair in latents:
            head(tower(tensor), pair[None])

    with torch.inference_mode():
        prepared_once = _median(lambda: encoder_input(volume, spec), repeats)
        prepared_each = _median(lambda: [encoder_input(volume, spec) for _ in range(members)], repeats)
        encoded_once = _median(one_pass, repeats)
        encoded_each = _median(pass_a_prompt, repeats)
    return {
        "ratio: preparation for each member / shared": prepared_each / prepared_once,
        f"ratio: image pass for each of {len(latents)} prompts / shared": encoded_each / encoded_once,
    }


def _median(work: Callable[[], object], repeats: int) -> float:
    """Median seconds, after one run that is not counted."""
    times = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:])
