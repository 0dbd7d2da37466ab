"""What each command of `python -m bench` does: measure, print a table, write JSON; returns the exit status.

What computes is imported by the command that needs it, once `bench.__main__` has set the environment.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.reading_cases import CASES
from bench.reading_command import measure_cases

FOLDER = Path("var/bench")
DEMONSTRATION = "best_models/demo"
FULL_SIZE, TWO_TOWERS = "full-size", "full-size-two-towers"


def run_all(arguments: argparse.Namespace) -> int:
    """Reading, then small and full size; each in a process of its own, so that its memory is its own."""
    reading = measure_cases(CASES, arguments.repeats, arguments.data, FOLDER / "reading.json")
    studies: list[dict[str, Any]] = []
    cases = [(DEMONSTRATION, "float32", 120), (FULL_SIZE, "float32", 300), (FULL_SIZE, "bf16", 300)]
    for bundle, precision, slices in cases:
        _bundle_folder(bundle)
        file = FOLDER / "study.json"
        options = ["--bundle", bundle, "--precision", precision, "--slices", str(slices)]
        options += ["--repeats", str(arguments.repeats), "--json", str(file)]
        subprocess.run([sys.executable, "-m", "bench", "study", *options], check=True)
        studies.append(json.loads(file.read_text(encoding="utf-8")))
        file.unlink()
    _write(arguments.json, {"reading": reading, "studies": studies})
    return 0


def run_study(arguments: argparse.Namespace) -> int:
    """One bundle in one precision."""
    from bench.machine import Products  # noqa: PLC0415
    from bench.sharing import sharing_ratios  # noqa: PLC0415
    from bench.study import ORIGINAL_S, measure_study  # noqa: PLC0415
    from bench.study_archive import study_archive  # noqa: PLC0415

    archive = study_archive(FOLDER / f"chest-{arguments.slices}.zip", arguments.slices)
    folder = _bundle_folder(arguments.bundle)
    figures = measure_study(archive, folder, arguments.precision, arguments.repeats, Products())
    print(f"{figures.machine}\n\n{figures.table()}\n\n{figures.summary()}")
    content = asdict(figures)
    if figures.bundle.startswith(FULL_SIZE):
        content["ratio_to_original"] = ORIGINAL_S / figures.whole_s
        print(
            f"{ORIGINAL_S:.0f} s are stated for the original, on another machine:"
            f" {content['ratio_to_original']:.1f} times as long, and no ratio within one run."
        )
    else:
        content["ratios"] = sharing_ratios(archive, folder, arguments.repeats)
        for work, ratio in content["ratios"].items():
            print(f"In the same process, {work} takes {ratio:.1f} times as long as once for all.")
    print(flush=True)
    _write(arguments.json, content)
    return 0


def run_machine(arguments: argparse.Namespace) -> int:
    """Matrix products of this machine, and operations of the full-size networks."""
    from bench.machine import describe_machine  # noqa: PLC0415
    from bench.work import measure_machine  # noqa: PLC0415

    print(describe_machine())
    figures = measure_machine()
    print(f"\n{figures.table()}\n")
    _write(arguments.json, asdict(figures))
    return 0


def run_precision(arguments: argparse.Namespace) -> int:
    """Codes, probabilities and decisions of reduced precision against float32."""
    from bench.precision_report import precision_reports  # noqa: PLC0415

    reports: list[dict[str, Any]] = []
    for bundle in arguments.bundle or (DEMONSTRATION, FULL_SIZE):
        so_far = precision_reports(
            _bundle_folder(bundle),
            arguments.precision,
            arguments.volumes,
            device=arguments.device,
            slices=not arguments.no_slices,
        )
        for report in so_far:
            print(f"{bundle}: volume {report.volumes} of {arguments.volumes}", file=sys.stderr, flush=True)
            _write(arguments.json, {"reports": [*reports, asdict(report)]})
        print(f"{report.machine}\n\n{report.table()}\n", flush=True)
        reports.append(asdict(report))
    return 0


def run_gpu(arguments: argparse.Namespace) -> int:
    """One graphics card; status 2 where there is none."""
    import torch  # noqa: PLC0415

    from bench.card import Effort, measure_card  # noqa: PLC0415
    from bench.queue import measure_queue  # noqa: PLC0415
    from bench.study_archive import study_archive  # noqa: PLC0415

    if not torch.cuda.is_available():
        print("bench gpu: no CUDA device here, nothing was measured", file=sys.stderr)
        return 2
    if arguments.memory_gb is not None:
        total = torch.cuda.get_device_properties(arguments.device).total_memory
        torch.cuda.set_per_process_memory_fraction(min(arguments.memory_gb * 1e9 / total, 1.0))
    archive = study_archive(FOLDER / "chest-300.zip", 300)
    content = []
    folder, device = _bundle_folder(arguments.bundle), arguments.device
    for precision in arguments.precision:
        figures = measure_card(archive, folder, device, precision, Effort())
        print(f"{figures.machine}\n\n{figures.table()}\n\n{figures.summary()}\n", flush=True)
        trace = measure_queue(archive, folder, device, precision, studies=20, concurrency=2)
        Console().print(trace.table())
        content.append({**asdict(figures), "queue": trace.to_json()})
        _write(arguments.json, {"memory_limit_gb": arguments.memory_gb, "figures": content})
    return 0


def run_queue(arguments: argparse.Namespace) -> int:
    """Queued studies, the next one prepared while the networks read one."""
    from bench.machine import describe_machine  # noqa: PLC0415
    from bench.queue import measure_queue  # noqa: PLC0415
    from bench.study_archive import study_archive  # noqa: PLC0415

    archive = study_archive(FOLDER / f"chest-{arguments.slices}.zip", arguments.slices)
    trace = measure_queue(
        archive,
        _bundle_folder(arguments.bundle),
        arguments.device,
        arguments.precision,
        studies=arguments.studies,
        concurrency=arguments.concurrency,
    )
    machine = describe_machine(arguments.device)
    print(machine)
    Console().print(trace.table())
    _write(arguments.json, {"machine": asdict(machine), **trace.to_json()})
    return 0


def run_import(arguments: argparse.Namespace) -> int:
    """`dicom-node bundle import`, with the seconds and the memory that it takes."""
    from bench.import_cost import measure_command  # noqa: PLC0415
    from bench.machine import describe_machine  # noqa: PLC0415

    node = Path(sys.executable).with_name("dicom-node")
    cost = measure_command([str(node), "bundle", "import", *arguments.options])
    machine = describe_machine()
    print(f"{machine}\n\nImport: {cost.seconds:.0f} s, {cost.peak_bytes / 1e9:.2f} GB at most.")
    _write(FOLDER / "import.json", {"machine": asdict(machine), **asdict(cost)})
    return 0


def _bundle_folder(bundle: str) -> Path:
    """A bundle's folder; the full-size ones are drawn when first asked for."""
    if bundle not in {FULL_SIZE, TWO_TOWERS}:
        return Path(bundle)
    from bench.full_size_bundle import full_size_bundle  # noqa: PLC0415

    return full_size_bundle(FOLDER / bundle, two_towers=bundle == TWO_TOWERS)


def _write(file: Path, content: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
