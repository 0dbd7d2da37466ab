"""Fuzzing of what strangers send: each target for a stated time by either engine, in processes of their own.

python -m fuzz                           every target, 60 s with each engine
python -m fuzz instance --seconds 600    one target, longer
python -m fuzz instance --replay FILE    one input once, with what became of it

Found inputs and figures are below `var/fuzz`; the exit status is 1 if anything was found.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fuzz.runner import ENGINES, run_all
from fuzz.targets import NAMES, load

FOLDER = Path("var/fuzz")


def main() -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "targets", nargs="*", metavar="TARGET", help=f"of {', '.join(NAMES)}; all without one"
    )
    parser.add_argument("--seconds", type=int, default=60, help="for each target with each engine")
    parser.add_argument("--engine", choices=ENGINES, action="append", help="both without one")
    parser.add_argument("--seeds", type=Path, help="a folder with further files to begin with")
    parser.add_argument("--replay", type=Path, help="run this input of the one target named, and no engine")
    arguments = parser.parse_args()
    unknown = set(arguments.targets) - set(NAMES)
    if unknown:
        parser.error(f"no target {', '.join(sorted(unknown))}")
    if arguments.replay is not None:
        if len(arguments.targets) != 1:
            parser.error("--replay needs one target")
        print(load(arguments.targets[0]).whole(arguments.replay.read_bytes()))
        return 0
    targets, engines = arguments.targets or NAMES, arguments.engine or ENGINES
    return run_all(targets, engines, arguments.seconds, FOLDER, arguments.seeds)


if __name__ == "__main__":
    sys.exit(main())
