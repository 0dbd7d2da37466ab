"""`python -m training`: the demonstration bundle from nothing, in one command."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from training.pipeline import Pipeline, use_threads
from training.recipe import Recipe

_STAGES = ("encoder", "classifier", "unet", "bundle", "saliency", "calibration")


def main() -> int:
    """Parse the command line and run the stages; prints the evaluation as JSON."""
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the bundle, best_models/demo")
    parser.add_argument(
        "--work", type=Path, required=True, help="rendered cases and checkpoints, some gigabytes"
    )
    parser.add_argument(
        "--threads", type=int, default=2, help="threads of the networks, processes that render"
    )
    parser.add_argument(
        "--scale", type=float, default=1.0, help="share of cases and steps; 0.02 is a rehearsal"
    )
    parser.add_argument(
        "--stage",
        choices=_STAGES,
        default="bundle",
        help="encoder, classifier, unet: train one network only, they may run side by side;"
        " saliency: measure anew where the bundle in --out looks; calibration: what its probability means;"
        " its networks and fusion stay as they are",
    )
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    use_threads(arguments.threads)
    recipe = Recipe() if arguments.scale == 1.0 else Recipe().scaled(arguments.scale)
    pipeline = Pipeline(recipe, arguments.work, arguments.threads)
    match arguments.stage:
        case "encoder":
            pipeline.train_encoder()
        case "classifier":
            pipeline.train_classifier()
        case "unet":
            pipeline.train_unet()
        case "saliency":
            saliency = pipeline.locate(arguments.out)
            _print(asdict(saliency) if saliency is not None else {})
        case "calibration":
            _print(pipeline.calibrate(arguments.out))
        case _:
            _print(pipeline.make_bundle(arguments.out))
    return 0


def _print(report: dict[str, Any]) -> None:
    json.dump(report, sys.stdout, indent=1)
    sys.stdout.write("\n")


if __name__ == "__main__":
    sys.exit(main())
