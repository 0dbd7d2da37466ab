"""The lungs of real patients against outlines drawn by hand, slice by slice and side by side."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from inference.densitometry import lung_mask
from inference.dicom_files import files_below, read_headers
from inference.lungs import find_lungs
from inference.series import choose_series
from inference.volume import CTVolume, read_volume
from tests.inference.lung_truth import dice

Mask = NDArray[np.bool_]
Slices = dict[int, dict[str, Any]]

SERIES = {
    "nlst-toshiba": "nlst-toshiba",
    "lung-dx-a0001-philips/kernel-a": "lung-dx-a0001-philips",
    "lung-dx-a0001-philips/kernel-b": "lung-dx-a0001-philips",
}
"""Folder of the pixels, and whose outlines they are: two kernels show one scan."""

RECESS_CM2 = 20.0
"""A smaller lung is a recess a few pixels wide, where one pixel more or less is a tenth of it."""

FINER = 4  # outlines are filled on a grid so many times finer than the pixels


def outlined(name: str) -> Slices:
    known = json.loads(Path(__file__).with_name("hand_outlines.json").read_text(encoding="utf-8"))
    return {int(index): outlines for index, outlines in known["series"][name].items()}


def filled(outlines: list[list[list[float]]], shape: tuple[int, int]) -> Mask:
    """The pixels of which half or more lies within one of the outlines."""
    image = Image.new("1", (shape[1] * FINER, shape[0] * FINER))
    draw = ImageDraw.Draw(image)
    for outline in outlines:
        draw.polygon([((x + 0.5) * FINER - 0.5, (y + 0.5) * FINER - 0.5) for x, y in outline], fill=1)
    parts = np.asarray(image, dtype=np.float32).reshape(shape[0], FINER, shape[1], FINER)
    inside: Mask = parts.mean(axis=(1, 3)) >= 0.5
    return inside


@cache
def segmented(folder: Path) -> tuple[CTVolume, Mask, Mask]:
    """The series and its left and right lung."""
    files = read_headers(files_below(folder))
    volume = read_volume(files.series(choose_series(files.headers)))
    return volume, *lung_mask(volume, find_lungs(volume))


@pytest.mark.parametrize("folder", SERIES)
def test_lungs_are_those_that_a_hand_outlined(ct_data: Path, folder: str) -> None:
    """Prints what it measures: `pytest -rP` shows it."""
    volume, left, right = segmented(ct_data / "ct" / folder)
    pixel_cm2 = volume.spacing_mm[1] * volume.spacing_mm[2] / 100
    slices = outlined(SERIES[folder])
    assert len(slices) >= 8
    shape = (volume.voxels_hu.shape[1], volume.voxels_hu.shape[2])
    drawn, found = [], []
    for index, outlines in slices.items():
        for side, mask in (("left", left[index]), ("right", right[index])):
            by_hand = filled(outlines[side], shape)
            agreement = dice(by_hand, mask)
            print(f"slice {index} {side}: {agreement:.3f}")
            recess = by_hand.sum() * pixel_cm2 < RECESS_CM2
            assert agreement > (0.82 if recess else 0.95), (index, side)
            drawn.append(by_hand)
            found.append(mask)
    whole = dice(np.array(drawn), np.array(found))
    print(f"{folder}: {whole:.4f}")
    assert whole > 0.97


@pytest.mark.parametrize("folder", [name for name in SERIES if name.startswith("lung-dx")])
def test_a_solid_tumour_at_the_pleura_is_left_out(ct_data: Path, folder: str) -> None:
    """What the method is known not to give: it says where the air ends, not where the lung does."""
    volume, left, _ = segmented(ct_data / "ct" / folder)
    shape = (volume.voxels_hu.shape[1], volume.voxels_hu.shape[2])
    with_tumour = {
        index: outlines for index, outlines in outlined(SERIES[folder]).items() if "tumour" in outlines
    }
    assert len(with_tumour) == 2
    for index, outlines in with_tumour.items():
        tumour = filled(outlines["tumour"], shape)
        assert (left[index] & tumour).sum() < 0.2 * tumour.sum()
        assert dice(left[index], filled(outlines["left"] + outlines["tumour"], shape)) < 0.92
