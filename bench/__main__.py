"""`python -m bench`: a table on standard output, the figures as JSON in a file."""

from __future__ import annotations

import argparse
import json
import os
import platform
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from bench.study import measure_study


def main() -> None:
    parser = argparse.ArgumentParser(description="Times of one study, by stage.")
    parser.add_argument("--bundle", type=Path, default=Path("best_models/demo"))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, default=Path("var/bench/bench.json"))
    arguments = parser.parse_args()

    figures = measure_study(arguments.bundle, arguments.repeats)
    machine = {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "torch_threads": torch.get_num_threads(),
        "bundle": arguments.bundle.name,
    }
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(
        json.dumps({"machine": machine, "figures": figures}, indent=1) + "\n", encoding="utf-8"
    )

    table = Table(title=", ".join(f"{key} {value}" for key, value in machine.items()))
    table.add_column("what")
    table.add_column("seconds or ratio", justify="right")
    for name, value in figures.items():
        table.add_row(name, f"{value:.3f}")
    Console().print(table)


if __name__ == "__main__":
    main()
