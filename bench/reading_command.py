"""What `python -m bench reading` does: each case in a process of its own, two tables, and JSON."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.reading_cases import CASES, REAL

FOLDER = Path("var/bench")
_LEFT_OUT = 2


def run_reading(arguments: argparse.Namespace) -> int:
    """One case in this process, several each in one of their own; status 2 where the one cannot be made."""
    cases = arguments.case or CASES
    if len(cases) > 1:
        measure_cases(cases, arguments.repeats, arguments.data, arguments.json)
        return 0
    from bench.reading import measure_reading, reading_work  # noqa: PLC0415

    (case,) = cases
    with TemporaryDirectory() as unkept:  # real images stay nowhere
        try:
            work = reading_work(case, Path(unkept) if case in REAL else FOLDER, arguments.data)
        except FileNotFoundError as error:
            print(f"{case} is left out: {error}", file=sys.stderr)
            return _LEFT_OUT
        figures = [asdict(measure_reading(case, work, arguments.repeats))]
    _print(figures)
    _write(arguments.json, figures)
    return 0


def measure_cases(cases: Sequence[str], repeats: int, data: Path | None, file: Path) -> list[dict[str, Any]]:
    """Figures of every case that can be made, which are printed and written to `file`."""
    figures: list[dict[str, Any]] = []
    for case in cases:
        options = ["--case", case, "--repeats", str(repeats), "--json", str(file)]
        options += ["--data", str(data)] if data is not None and case in REAL else []
        command = [sys.executable, "-m", "bench", "reading", *options]
        done = subprocess.run(command, check=False, stdout=subprocess.DEVNULL)  # the tables come together
        if done.returncode == _LEFT_OUT:
            continue
        done.check_returncode()
        figures += json.loads(file.read_text(encoding="utf-8"))["reading"]
        _write(file, figures)
    if figures:
        _print(figures)
    return figures


def _print(figures: Sequence[dict[str, Any]]) -> None:
    from bench.reading import ReadingFigures, cost_table, speed_table  # noqa: PLC0415

    items = [ReadingFigures.from_json(item) for item in figures]
    print(f"{items[0].machine}\n\n{speed_table(items)}\n\n{cost_table(items)}\n", flush=True)


def _write(file: Path, figures: Sequence[dict[str, Any]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"reading": figures}, indent=1) + "\n", encoding="utf-8")
