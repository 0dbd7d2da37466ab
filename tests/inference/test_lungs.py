from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from inference.decoding import decode_frame
from inference.dicom_files import files_below, read_headers
from inference.errors import RefusalCode, VolumeRefusal
from inference.lungs import find_lungs
from inference.series import choose_series
from inference.volume import CTVolume, read_volume
from phantom.cases import FINDINGS, HELD_OUT_SEEDS, Case
from phantom.grid import Grid, centred_grid
from phantom.head import Head
from phantom.quality import QualityPhantom
from phantom.render import acquisition_grid, finding_masks, render
from phantom.scene import HuArray, sample
from tests.inference.synthetic import volume_of

SEED = HELD_OUT_SEEDS[0]


def quick_grid(case: Case) -> Grid:
    """The case's acquisition at half the matrix and 5 mm."""
    full = acquisition_grid(case)
    pixel = 2 * full.spacing_mm[1]
    return centred_grid((5.0, pixel, pixel), (int(full.shape[0] * full.spacing_mm[0] / 5), 256, 256))


def placed(voxels: HuArray, grid: Grid) -> CTVolume:
    affine = np.diag([grid.spacing_mm[2], grid.spacing_mm[1], grid.spacing_mm[0], 1.0])
    affine[:3, 3] = grid.origin_mm
    return volume_of(voxels, grid.spacing_mm, affine=affine)


@cache
def chest(*findings: str, seed: int = SEED) -> CTVolume:
    case = Case(seed, findings)
    grid = quick_grid(case)
    return placed(render(case, grid, noise_hu=12.0, rng=np.random.default_rng(seed)), grid)


def assert_no_lungs(volume: CTVolume) -> None:
    with pytest.raises(VolumeRefusal) as caught:
        find_lungs(volume)
    assert caught.value.code is RefusalCode.NO_LUNGS
    assert "not a CT of the chest" in caught.value.sentence


@pytest.mark.parametrize("finding", [None, *FINDINGS])
def test_a_chest_has_lungs_whatever_its_disease(finding: str | None) -> None:
    lungs = find_lungs(chest(*([finding] if finding else [])))
    assert 2000 < lungs.volume_ml < 7000
    assert -960 < lungs.mean_hu < -700
    share = lungs.left.sum() / (lungs.left | lungs.right).sum()
    assert 0.35 < share < 0.6


def test_several_diseases_at_once_are_still_a_chest() -> None:
    assert find_lungs(chest("Consolidation", "Pleural effusion", "Pneumothorax")).volume_ml > 1500


def test_a_head_and_a_quality_phantom_are_refused() -> None:
    rng = np.random.default_rng(0)
    grid = centred_grid((2.5, 0.98, 0.98), (64, 256, 256))
    assert_no_lungs(placed(sample(Head(SEED), grid, 6.0, rng), grid))
    grid = centred_grid((2.5, 1.0, 1.0), (64, 256, 256))
    assert_no_lungs(placed(sample(QualityPhantom(SEED), grid, 6.0, rng), grid))


@pytest.mark.parametrize("scale", [0.3, 0.45])
def test_a_child_has_lungs(scale: float) -> None:
    adult = chest()
    spacing = tuple(scale * length for length in adult.spacing_mm)
    affine = np.diag([spacing[2], spacing[1], spacing[0], 1.0])
    affine[:3, 3] = scale * adult.affine[:3, 3]
    lungs = find_lungs(volume_of(adult.voxels_hu, (spacing[0], spacing[1], spacing[2]), affine=affine))
    assert lungs.volume_ml == pytest.approx(find_lungs(adult).volume_ml * scale**3, rel=0.1)


def test_a_chest_that_is_said_to_be_tiny_is_refused() -> None:
    adult = chest()
    depth, row, column = (0.05 * length for length in adult.spacing_mm)
    assert min(np.multiply(adult.voxels_hu.shape, (depth, row, column))) < 20
    assert_no_lungs(volume_of(adult.voxels_hu, (depth, row, column)))


def test_lungs_that_are_mostly_consolidated_are_lungs() -> None:
    volume = chest()
    lungs = find_lungs(volume)
    rows = np.flatnonzero((lungs.left | lungs.right).any(axis=(0, 2))) * lungs.factors[1]
    behind = volume.voxels_hu[:, rows[0] + int(0.18 * (rows[-1] - rows[0])) :]
    consolidated = volume.voxels_hu.copy()
    consolidated[:, -behind.shape[1] :] = np.where(behind < -300, 30, behind)
    left_over = find_lungs(volume_of(consolidated, volume.spacing_mm, affine=volume.affine))
    assert 250 < left_over.volume_ml < 500


def test_as_little_lung_at_the_top_of_a_scan_is_that_of_an_abdomen() -> None:
    volume = chest()
    depth, row, column = volume.spacing_mm
    bases = volume.voxels_hu[: int(0.4 * len(volume.voxels_hu))]
    assert find_lungs(volume_of(bases, volume.spacing_mm)).volume_ml > 500
    assert_no_lungs(volume_of(bases, (depth, 0.78 * row, 0.78 * column)))


def test_an_abdomen_is_refused() -> None:
    volume = chest()
    below = volume.voxels_hu[: len(volume.voxels_hu) // 5]
    assert_no_lungs(volume_of(below, volume.spacing_mm))


def body_with(hu: float, noise_hu: float) -> CTVolume:
    """A water body with two large inserts of one density."""
    z, y, x = np.mgrid[:60, :128, :128]
    voxels = np.full(z.shape, -1000.0)
    voxels[((y - 64) / 45) ** 2 + ((x - 64) / 58) ** 2 < 1] = 20
    for middle in (38, 90):
        voxels[((y - 64) / 30) ** 2 + ((x - middle) / 18) ** 2 < 1] = hu
    voxels += np.random.default_rng(1).normal(0, noise_hu, voxels.shape)
    return volume_of(np.rint(voxels).astype(np.int16), (5.0, 2.5, 2.5))


def test_air_in_the_bowel_or_in_a_phantom_is_not_lung() -> None:
    assert_no_lungs(body_with(-1000, 15))


def test_foam_as_dense_as_lung_but_without_vessels_is_not_lung() -> None:
    assert_no_lungs(body_with(-850, 15))


def test_air_and_water_alone_are_refused() -> None:
    assert_no_lungs(volume_of(np.full((40, 64, 64), -1000, np.int16), (5.0, 5.0, 5.0)))
    assert_no_lungs(volume_of(np.full((40, 64, 64), 20, np.int16), (5.0, 5.0, 5.0)))


@pytest.mark.parametrize("mirrored", [False, True])
def test_sides_are_the_patients_and_not_the_pictures(mirrored: bool) -> None:
    """A pneumothorax lies on the side where the phantom has it, also when the columns run the other way."""
    case = Case(SEED, ("Pneumothorax",))
    grid = quick_grid(case)
    volume = placed(render(case, grid, noise_hu=12.0, rng=np.random.default_rng(1)), grid)
    places = np.argwhere(finding_masks(case, grid)["Pneumothorax"])
    index, row, column = places.mean(axis=0)
    x_mm = grid.origin_mm[0] + column * grid.spacing_mm[2]
    if mirrored:
        affine = volume.affine.copy()
        affine[0] = [-grid.spacing_mm[2], 0, 0, grid.origin_mm[0] + 255 * grid.spacing_mm[2]]
        volume = volume_of(volume.voxels_hu[:, :, ::-1], volume.spacing_mm, affine=affine)
        column = 255 - column
    assert find_lungs(volume).side(index, row, column) == ("left" if x_mm > 0 else "right")


def test_the_centre_lies_between_the_lungs() -> None:
    lungs = find_lungs(chest())
    row, column = lungs.centre(lungs.middle_slice)
    assert abs(row - 127.5) < 25
    assert abs(column - 127.5) < 25
    assert lungs.centre(0) != lungs.centre(lungs.middle_slice)


@pytest.mark.parametrize("folder", ["nlst-toshiba", "lung-dx-a0001-philips"])
def test_real_chests_have_lungs(ct_data: Path, folder: str) -> None:
    files = read_headers(files_below(ct_data / "ct" / folder))
    volume = read_volume(files.series(choose_series(files.headers)))
    lungs = find_lungs(volume)
    assert 3500 < lungs.volume_ml < 6500
    # The column index grows towards the left of both patients.
    middle = lungs.middle_slice
    row, column = lungs.centre(middle)
    assert lungs.side(middle, row, column - 100) == "right"
    assert lungs.side(middle, row, column + 100) == "left"
    assert lungs.left.sum() < lungs.right.sum()


def test_a_real_head_has_none(ct_data: Path) -> None:
    files = read_headers(files_below(ct_data / "fixtures" / "gantry-tilt-ge"))
    in_order = sorted(files.headers, key=lambda header: header.planes[0].position_mm[2])
    decoded = [decode_frame(files.paths[header.sop_instance_uid], 0).hu for header in in_order]
    frames = [frame for frame in decoded if frame is not None]
    assert len(frames) == 28
    assert_no_lungs(volume_of(np.stack(frames).astype(np.int16), (4.5, 0.488, 0.488)))
