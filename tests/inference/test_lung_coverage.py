from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from inference.dicom_files import files_below, read_headers
from inference.errors import RefusalCode, VolumeRefusal
from inference.lung_coverage import OpenEnd, cut_off_warnings, open_ends, refuse_truncated
from inference.lungs import find_lungs
from inference.series import choose_series
from inference.volume import CTVolume, read_volume
from phantom.cases import HELD_OUT_SEEDS, Case
from phantom.grid import Grid, centred_grid
from phantom.render import acquisition_grid, render
from phantom.studies import chest_study
from tests.inference.lung_truth import lung_truth
from tests.inference.synthetic import save, volume_of

SEEDS = (HELD_OUT_SEEDS[0], HELD_OUT_SEEDS[4])
STEP_MM = 4.0


def grid_of(case: Case) -> Grid:
    full = acquisition_grid(case)
    pixel = 3 * full.spacing_mm[1]
    return centred_grid(
        (STEP_MM, pixel, pixel), (int(full.shape[0] * full.spacing_mm[0] / STEP_MM), 170, 170)
    )


@cache
def chest(seed: int) -> tuple[CTVolume, int, int]:
    """A thorax and its first and last slice with lungs: those with 1 % of the largest area or more."""
    case = Case(seed, ())
    grid = grid_of(case)
    areas = lung_truth(case, grid).sum(axis=(1, 2))
    planes = np.flatnonzero(areas >= 0.01 * areas.max())
    voxels = render(case, grid, noise_hu=12.0, rng=np.random.default_rng(seed))
    affine = np.diag([grid.spacing_mm[2], grid.spacing_mm[1], grid.spacing_mm[0], 1.0])
    affine[:3, 3] = grid.origin_mm
    return volume_of(voxels, grid.spacing_mm, affine=affine), int(planes[0]), int(planes[-1])


def cropped(seed: int, *, head_mm: float = 0, feet_mm: float = 0) -> CTVolume:
    """The thorax without so many millimetres of its lungs; an end with nothing to lose is whole."""
    volume, first, last = chest(seed)
    bottom = first + round(feet_mm / STEP_MM) if feet_mm else 0
    top = last + 1 - round(head_mm / STEP_MM) if head_mm else len(volume.voxels_hu)
    return replace(volume, voxels_hu=volume.voxels_hu[bottom:top])


def ends_of(volume: CTVolume) -> tuple[OpenEnd, ...]:
    return open_ends(find_lungs(volume))


@pytest.mark.parametrize("seed", SEEDS)
def test_whole_lungs_have_no_open_end(seed: int) -> None:
    lungs = find_lungs(chest(seed)[0])
    assert open_ends(lungs) == ()
    assert cut_off_warnings(()) == ()
    refuse_truncated(lungs)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("end", "missing_mm"),
    [*(("head", mm) for mm in (12, 24, 36, 48)), *(("feet", mm) for mm in (12, 24, 36))],
)
def test_a_little_that_is_cut_off_is_estimated_and_told(end: str, missing_mm: int, seed: int) -> None:
    lungs = find_lungs(cropped(seed, **{f"{end}_mm": missing_mm}))
    (found,) = open_ends(lungs)
    assert found.end == end
    assert not found.at_least
    assert found.missing_mm == pytest.approx(missing_mm, abs=20)
    (warning,) = cut_off_warnings([found])
    assert f"about {5 * round(found.missing_mm / 5)} mm at the {end} end are missing" in warning
    refuse_truncated(lungs)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("missing_mm", [100, 120, 140])
@pytest.mark.parametrize("end", ["head", "feet"])
def test_a_large_part_that_is_cut_off_is_refused(end: str, missing_mm: int, seed: int) -> None:
    lungs = find_lungs(cropped(seed, **{f"{end}_mm": missing_mm}))
    (found,) = open_ends(lungs)
    assert found.end == end
    assert found.at_least
    assert 45 <= found.missing_mm <= missing_mm + 5  # a lower bound
    with pytest.raises(VolumeRefusal) as caught:
        refuse_truncated(lungs)
    assert caught.value.code is RefusalCode.LUNGS_TRUNCATED
    assert f"at least {5 * round(found.missing_mm / 5)} mm at the {end} end" in caught.value.sentence
    assert "both lungs from apex to base" in caught.value.remedy


def test_a_little_at_either_end_is_told_of_both() -> None:
    lungs = find_lungs(cropped(SEEDS[0], head_mm=16, feet_mm=20))
    ends = open_ends(lungs)
    assert [end.end for end in ends] == ["head", "feet"]
    assert len(cut_off_warnings(ends)) == 2
    refuse_truncated(lungs)


def test_a_lot_at_either_end_is_refused_with_both() -> None:
    lungs = find_lungs(cropped(SEEDS[0], head_mm=64, feet_mm=56))
    with pytest.raises(VolumeRefusal) as caught:
        refuse_truncated(lungs)
    assert "at the head end and" in caught.value.sentence
    assert "at the feet end." in caught.value.sentence


@pytest.mark.parametrize("mirrored", [False, True], ids=["ascending", "towards the feet"])
@pytest.mark.parametrize("end", ["head", "feet"])
def test_the_end_is_the_patients_whatever_the_order_of_images(
    end: str, mirrored: bool, tmp_path: Path
) -> None:
    """Images numbered from head to feet, and rows that run to the front so that the normal points down."""
    case = Case(SEEDS[0], ())
    _, first, last = chest(SEEDS[0])
    images = list(chest_study(case, grid=grid_of(case), numbering="descending").datasets())
    images.sort(key=lambda image: float(image.ImagePositionPatient[2]))
    kept = images[: last + 1 - 6] if end == "head" else images[first + 6 :]
    if mirrored:
        for image in kept:
            rows = int(image.Rows)
            image.PixelData = np.flipud(image.pixel_array).tobytes()
            image.ImageOrientationPatient = [1, 0, 0, 0, -1, 0]
            image.ImagePositionPatient[1] += (rows - 1) * image.PixelSpacing[0]
    volume = read_volume(save(kept, tmp_path))
    assert [found.end for found in ends_of(volume)] == [end]


def test_a_real_chest_that_is_cut_off(ct_data: Path) -> None:
    files = read_headers(files_below(ct_data / "ct" / "nlst-toshiba"))
    volume = read_volume(files.series(choose_series(files.headers)))
    lungs = find_lungs(volume)
    assert open_ends(lungs) == ()
    refuse_truncated(lungs)
    planes = np.flatnonzero(lungs.areas_mm2 >= 0.01 * lungs.areas_mm2.max()) * lungs.factors[0]
    for lost_mm in (20, 40, 60):
        slices = round(lost_mm / volume.spacing_mm[0])
        (head,) = ends_of(replace(volume, voxels_hu=volume.voxels_hu[: planes[-1] + 1 - slices]))
        (feet,) = ends_of(replace(volume, voxels_hu=volume.voxels_hu[planes[0] + slices :]))
        assert (head.end, feet.end) == ("head", "feet")
        assert head.missing_mm == pytest.approx(lost_mm, abs=20)
        assert feet.missing_mm == pytest.approx(lost_mm, abs=20)
    for half in (slice(None, planes.mean().astype(int)), slice(planes.mean().astype(int), None)):
        with pytest.raises(VolumeRefusal) as caught:
            refuse_truncated(find_lungs(replace(volume, voxels_hu=volume.voxels_hu[half])))
        assert caught.value.code is RefusalCode.LUNGS_TRUNCATED
