"""Measurements: tables in Markdown on standard output, figures as JSON below `var/bench`.

python -m bench              reading, the demonstration bundle and one of full size, on the processor
python -m bench study        one bundle in one precision, from ZIP to JSON
python -m bench reading      ZIP to encoder input by transfer syntax, headers of 3,000 files
python -m bench machine      the processor's matrix products, and the operations of each network
python -m bench queue        queued studies, and how long the networks wait between two
python -m bench precision    what reduced precision changes in the answers
python -m bench import --    seconds and memory of `dicom-node bundle import`, whose options follow
python -m bench gpu          one graphics card
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from bench import commands
from bench.commands import DEMONSTRATION, FOLDER, FULL_SIZE, TWO_TOWERS
from bench.reading_cases import CASES
from bench.reading_command import run_reading


def main() -> int:
    """Run the command; returns the exit status."""
    # Set before torch is loaded: OpenMP reads it once.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    arguments = _parser().parse_args()
    command: int = arguments.run(arguments)
    return command


def _parser() -> argparse.ArgumentParser:
    precisions = ("float32", "bf16", "fp16")
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=_positive, default=3)
    parser.add_argument("--json", type=Path, default=FOLDER / "bench.json")
    _add_data(parser)
    parser.set_defaults(run=commands.run_all)
    subparsers = parser.add_subparsers(title="commands")
    which = f"a bundle's folder, or {FULL_SIZE} or {TWO_TOWERS}, which are made below {FOLDER}"

    study = subparsers.add_parser("study", help="one bundle in one precision, from ZIP to JSON")
    study.add_argument("--bundle", default=FULL_SIZE, help=which)
    study.add_argument("--precision", choices=precisions, default="float32")
    study.add_argument("--slices", type=_positive, default=300)
    study.add_argument(
        "--repeats", type=_positive, default=3, help="studies that count, after one that warms up"
    )
    study.add_argument("--json", type=Path, default=FOLDER / "study.json")
    study.set_defaults(run=commands.run_study)

    _add_reading(subparsers.add_parser("reading", help="ZIP to encoder input by transfer syntax; headers"))

    machine = subparsers.add_parser("machine", help="matrix products, and operations of each network")
    machine.add_argument("--json", type=Path, default=FOLDER / "machine.json")
    machine.set_defaults(run=commands.run_machine)

    precision = subparsers.add_parser("precision", help="what reduced precision changes in the answers")
    precision.add_argument("--bundle", action="append", help=f"{which}; by default {DEMONSTRATION} and full")
    precision.add_argument("--precision", nargs="+", choices=precisions[1:], default=precisions[1:])
    precision.add_argument("--volumes", type=_positive, default=20)
    precision.add_argument("--no-slices", action="store_true", help="leave the slice classifier out")
    precision.add_argument("--device", default="cpu")
    precision.add_argument("--json", type=Path, default=FOLDER / "precision.json")
    precision.set_defaults(run=commands.run_precision)

    queue = subparsers.add_parser("queue", help="queued studies: how long the networks wait between two")
    queue.add_argument("--bundle", default=DEMONSTRATION, help=which)
    queue.add_argument("--precision", choices=precisions, default="float32")
    queue.add_argument("--slices", type=_positive, default=120)
    queue.add_argument("--studies", type=_positive, default=8)
    queue.add_argument("--concurrency", type=_positive, default=2, help="studies in work at a time")
    queue.add_argument("--device", default="cpu")
    queue.add_argument("--json", type=Path, default=FOLDER / "queue.json")
    queue.set_defaults(run=commands.run_queue)

    imported = subparsers.add_parser("import", help="seconds and memory of `dicom-node bundle import`")
    imported.add_argument("options", nargs="*", help="after --, those of `dicom-node bundle import`")
    imported.set_defaults(run=commands.run_import)

    gpu = subparsers.add_parser("gpu", help="one graphics card")
    gpu.add_argument("--bundle", default=FULL_SIZE, help=which)
    gpu.add_argument("--precision", nargs="+", choices=precisions, default=("fp16", "float32"))
    gpu.add_argument("--device", default="cuda")
    gpu.add_argument("--memory-gb", type=float, help="use no more of the card, as if it were a smaller one")
    gpu.add_argument("--json", type=Path, default=FOLDER / "gpu.json")
    gpu.set_defaults(run=commands.run_gpu)
    return parser


def _add_reading(reading: argparse.ArgumentParser) -> None:
    reading.add_argument("--case", action="append", choices=CASES, help="by default all of them")
    reading.add_argument("--repeats", type=_positive, default=5, help="studies that count, after the first")
    _add_data(reading)
    reading.add_argument("--json", type=Path, default=FOLDER / "reading.json")
    reading.set_defaults(run=run_reading)


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        type=_folder,
        default=os.environ.get("CT_TEST_DATA"),
        help="folder of real studies, by default that of CT_TEST_DATA; without it they are left out",
    )


def _folder(text: str) -> Path:
    folder = Path(text)
    if not folder.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is no folder")
    return folder


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number


if __name__ == "__main__":
    sys.exit(main())
