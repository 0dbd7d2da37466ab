"""A small chest that the real analysis reads, and a bundle of tiny random networks that answers about it."""

from __future__ import annotations

from pathlib import Path

from phantom.cases import Case
from phantom.grid import centred_grid
from phantom.studies import chest_study
from tests.inference.conftest import manifest, write_bundle

SLICES = 72


def write_small_chest(folder: Path, seed: int = 3) -> list[Path]:
    """72 slices of 128 x 128, 4.5 mm apart: both lungs."""
    folder.mkdir(parents=True)
    study = chest_study(Case(seed, ()), grid=centred_grid((4.5, 3.2, 3.2), (SLICES, 128, 128)))
    paths = []
    for index, image in enumerate(study.datasets()):
        paths.append(folder / f"{index:03}.dcm")
        image.save_as(paths[-1], enforce_file_format=True)
    return paths


def write_tiny_bundle(bundles_folder: Path, name: str = "demo") -> Path:
    """Random networks and a real fusion model; the answer means nothing."""
    return write_bundle(bundles_folder / name, manifest())
