from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from inference.densitometry import COLUMNS, densitometry, lung_mask
from inference.dicom_files import files_below, read_headers
from inference.lungs import Lungs, find_lungs
from inference.series import choose_series
from inference.volume import CTVolume, read_volume
from phantom.cases import HELD_OUT_SEEDS, Case
from phantom.grid import Grid, centred_grid
from phantom.render import acquisition_grid, render, thorax
from tests.inference.lung_truth import AERATED, SOLID, dice, lung_truth
from tests.inference.synthetic import volume_of

SEED = HELD_OUT_SEEDS[0]


def acquired(
    case: Case, step_mm: float = 4.0, pixels: float = 3.0, flat: float = 1.0
) -> tuple[CTVolume, Grid]:
    """A case with slices of `step_mm` and pixels `pixels` times as large as usual, `flat` times higher."""
    full = acquisition_grid(case)
    pixel = pixels * full.spacing_mm[1]
    grid = centred_grid(
        (step_mm, flat * pixel, pixel),
        (int(full.shape[0] * full.spacing_mm[0] / step_mm), int(512 / pixels / flat), int(512 / pixels)),
    )
    affine = np.diag([grid.spacing_mm[2], grid.spacing_mm[1], grid.spacing_mm[0], 1.0])
    affine[:3, 3] = grid.origin_mm
    voxels = render(case, grid, noise_hu=15.0, rng=np.random.default_rng(case.seed))
    return volume_of(voxels, grid.spacing_mm, affine=affine), grid


def mirrored(volume: CTVolume, axis: int) -> CTVolume:
    """The same patient with rows (1) or columns (2) stored the other way round."""
    affine = volume.affine.copy()
    index = 2 - axis
    affine[:3, 3] += (volume.voxels_hu.shape[axis] - 1) * affine[:3, index]
    affine[:3, index] *= -1
    return replace(volume, voxels_hu=np.flip(volume.voxels_hu, axis), affine=affine)


def cube(hu: int) -> tuple[CTVolume, Lungs]:
    """Two lungs of 20 x 40 x 30 mm each, of one density, in tissue; grid and voxels are of one size."""
    voxels = np.full((30, 60, 80), 20, np.int16)
    left, right = np.zeros((2, *voxels.shape), bool)
    right[5:25, 10:50, 5:35] = True
    left[5:25, 10:50, 45:75] = True
    voxels[left | right] = hu
    return volume_of(voxels, (1.0, 1.0, 1.0)), Lungs(left, right, (1, 1, 1), (1.0, 1.0, 1.0), 48.0, float(hu))


def test_volumes_and_densities_are_those_that_were_put_in() -> None:
    volume, lungs = cube(-860)
    voxels = volume.voxels_hu.copy()
    voxels[6:16, 12:48, 50:70] = -980  # emphysema in the left lung: 7,200 of 48,000 voxels
    voxels[6:16, 12:48, 8:18] = -400  # and a haze in the right one: 3,600
    voxels[20:22, 20:30, 10:20] = 40  # vessels in it: 200
    columns = densitometry(replace(volume, voxels_hu=voxels), lungs).columns
    assert columns["left_lung_volume_ml"] == pytest.approx(24.0)
    assert columns["right_lung_volume_ml"] == pytest.approx(24.0)
    assert columns["lung_volume_ml"] == pytest.approx(48.0)
    mean = (7200 * -980 + 3600 * -400 + 200 * 40 + 37000 * -860) / 48000
    assert columns["mean_lung_density_hu"] == pytest.approx(mean, abs=0.005)
    assert columns["laa_950_percent"] == pytest.approx(15.0)
    assert columns["laa_910_percent"] == pytest.approx(15.0)
    assert columns["haa_percent"] == pytest.approx(7.5)
    assert columns["perc15_hu"] == -980


@pytest.mark.parametrize(
    ("hu", "name", "share"),
    [
        (-951, "laa_950_percent", 100),
        (-950, "laa_950_percent", 0),
        (-911, "laa_910_percent", 100),
        (-910, "laa_910_percent", 0),
        (-600, "haa_percent", 100),
        (-601, "haa_percent", 0),
    ],
)
def test_the_limits_belong_where_their_definitions_put_them(hu: int, name: str, share: float) -> None:
    assert densitometry(*cube(hu)).columns[name] == share


def test_fractions_of_an_hu_are_rounded() -> None:
    volume, lungs = cube(-860)
    finer = replace(volume, voxels_hu=volume.voxels_hu.astype(np.float32) + np.float32(0.25))
    assert densitometry(finer, lungs).columns == densitometry(volume, lungs).columns


def test_every_measurement_has_unit_and_definition() -> None:
    measured = densitometry(*cube(-860))
    assert tuple(measured.columns) == COLUMNS
    assert [item.value for item in measured.measurements] == list(measured.columns.values())
    assert {item.unit for item in measured.measurements} == {"mL", "%", "[hnsf'U]"}
    assert len({item.name for item in measured.measurements}) == len(COLUMNS)
    assert all(re.search(r"\(.+, (19|20)\d\d\)", item.method) for item in measured.measurements)


CASES: dict[str, tuple[tuple[str, ...], dict[str, float], int | None]] = {
    "healthy": ((), {}, None),
    "healthy, columns mirrored": ((), {}, 2),
    "nodules, rows mirrored": (("Lung nodule",), {}, 1),
    "emphysema, anisotropic": (("Emphysema",), {"step_mm": 5.0, "pixels": 2.0, "flat": 2.0}, None),
    "pneumothorax": (("Pneumothorax",), {}, None),
    "effusion, mirrored": (("Pleural effusion", "Cardiomegaly"), {}, 2),
}


@pytest.mark.parametrize(("present", "sampling", "axis"), CASES.values(), ids=list(CASES))
def test_the_mask_is_that_of_the_phantom(
    present: tuple[str, ...], sampling: dict[str, float], axis: int | None
) -> None:
    case = Case(SEED, present)
    volume, grid = acquired(case, **sampling)
    truth = lung_truth(case, grid, with_findings=(*AERATED, *SOLID))
    if axis is not None:
        volume, truth = mirrored(volume, axis), np.flip(truth, axis)
    lungs = find_lungs(volume)
    left, right = lung_mask(volume, lungs)
    assert dice(left | right, truth) > 0.985
    on_left = _left_mm(volume) > thorax(case).centre[0]
    assert dice(left, truth & on_left) > 0.98
    assert dice(right, truth & ~on_left) > 0.98
    columns = densitometry(volume, lungs).columns
    voxel_ml = float(np.prod(grid.spacing_mm)) / 1000
    assert columns["lung_volume_ml"] == pytest.approx((left | right).sum() * voxel_ml, abs=0.005)
    assert columns["lung_volume_ml"] == pytest.approx(truth.sum() * voxel_ml, rel=0.02)
    values = volume.voxels_hu[truth]
    assert columns["mean_lung_density_hu"] == pytest.approx(values.mean(), abs=8)
    assert columns["laa_950_percent"] == pytest.approx(100 * (values < -950).mean(), abs=1.0)
    assert columns["perc15_hu"] == pytest.approx(np.percentile(values, 15), abs=5)


def test_ground_glass_in_half_a_lung_is_lung_and_is_high_attenuation() -> None:
    case = Case(SEED, ())
    volume, grid = acquired(case)
    truth = lung_truth(case, grid)
    hazy = truth & (volume.voxels_hu < -600)
    hazy[:, :, : truth.shape[2] // 2] = False
    hazy[: truth.shape[0] // 2] = False
    voxels = np.where(hazy, volume.voxels_hu + np.int16(380), volume.voxels_hu)
    volume = replace(volume, voxels_hu=voxels)
    lungs = find_lungs(volume)
    left, right = lung_mask(volume, lungs)
    assert dice(left | right, truth) > 0.98
    columns = densitometry(volume, lungs).columns
    high = (voxels[truth] >= -600) & (voxels[truth] <= -250)
    assert 100 * high.mean() > 15
    assert columns["haa_percent"] == pytest.approx(100 * high.mean(), abs=1.5)


@pytest.mark.parametrize(("rolled", "tilted"), [(25, 0), (0, 18), (-20, 12)])
def test_an_oblique_series_has_the_same_lungs(rolled: float, tilted: float) -> None:
    """A patient who lies rolled to one side, a stack that runs askew, or both."""
    case = Case(SEED, ())
    volume, grid = acquired(case)
    truth = lung_truth(case, grid)
    on_left = truth & (_left_mm(volume) > thorax(case).centre[0])
    to_upright, affine = _askew(volume, rolled, tilted)

    def seen(values: NDArray[Any], order: int, outside: float) -> NDArray[Any]:
        turned: NDArray[Any] = ndimage.affine_transform(
            values, to_upright[:3, :3], to_upright[:3, 3], order=order, cval=outside
        )
        return turned

    oblique = replace(volume, voxels_hu=seen(volume.voxels_hu, 1, -1000).astype(np.int16), affine=affine)
    left, right = lung_mask(oblique, find_lungs(oblique))
    true_left = seen(on_left.view(np.uint8), 0, 0) > 0
    true_right = seen((truth & ~on_left).view(np.uint8), 0, 0) > 0
    assert dice(left, true_left) > 0.97
    assert dice(right, true_right) > 0.97


def _askew(volume: CTVolume, rolled: float, tilted: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where a series turned by so many degrees finds its voxels in an upright one, and its affine."""
    roll, tilt = np.radians([rolled, tilted])
    about_z = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    centre = (volume.affine @ [*(np.array(volume.voxels_hu.shape[::-1]) - 1) / 2, 1])[:3]
    turn = np.eye(4)
    turn[:3, :3] = about_x @ about_z
    turn[:3, 3] = centre - turn[:3, :3] @ centre
    affine = turn @ volume.affine
    reverse = np.eye(4)[[2, 1, 0, 3]]  # (slice, row, column) and (column, row, slice)
    return reverse @ np.linalg.inv(volume.affine) @ affine @ reverse, affine


def _left_mm(volume: CTVolume) -> NDArray[np.float64]:
    """LPS x of every column."""
    columns = np.arange(volume.voxels_hu.shape[2])
    x: NDArray[np.float64] = volume.affine[0, 0] * columns + volume.affine[0, 3]
    return x


def test_a_consolidated_part_is_not_counted_and_little_else_is_lost() -> None:
    case = Case(SEED, ("Consolidation",))
    volume, grid = acquired(case)
    left, right = lung_mask(volume, find_lungs(volume))
    aerated = lung_truth(case, grid)
    whole = lung_truth(case, grid, with_findings=(*AERATED, *SOLID))
    assert ((left | right) & aerated).sum() > 0.98 * aerated.sum()
    assert ((left | right) & ~whole).sum() < 0.01 * whole.sum()


def test_trachea_and_main_bronchi_do_not_count() -> None:
    volume, grid = acquired(Case(SEED, ()), step_mm=2.5, pixels=2.0)
    left, right = lung_mask(volume, find_lungs(volume))
    truth = lung_truth(Case(SEED, ()), grid)
    gas = (volume.voxels_hu < -960) & ~truth
    rows, columns = (slice(n // 4, 3 * n // 4) for n in gas.shape[1:])
    airways = np.zeros_like(gas)
    airways[:, rows, columns] = gas[:, rows, columns]  # not the air around the body
    assert airways.sum() * np.prod(grid.spacing_mm) / 1000 > 20
    assert ((left | right) & airways).sum() < 0.15 * airways.sum()


@pytest.mark.parametrize(
    ("folder", "volume_ml", "density_hu"),
    [("nlst-toshiba", (4000, 4400), (-915, -885)), ("lung-dx-a0001-philips", (5250, 5700), (-845, -805))],
)
def test_real_lungs(
    ct_data: Path, folder: str, volume_ml: tuple[float, float], density_hu: tuple[float, float]
) -> None:
    files = read_headers(files_below(ct_data / "ct" / folder))
    volume = read_volume(files.series(choose_series(files.headers)))
    columns = densitometry(volume, find_lungs(volume)).columns
    assert volume_ml[0] < columns["lung_volume_ml"] < volume_ml[1]
    assert density_hu[0] < columns["mean_lung_density_hu"] < density_hu[1]
    assert columns["left_lung_volume_ml"] < columns["right_lung_volume_ml"]
    assert columns["laa_950_percent"] < columns["laa_910_percent"]
    assert columns["perc15_hu"] < columns["mean_lung_density_hu"]
