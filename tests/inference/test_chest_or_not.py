"""Series easily taken for a chest or for none: what is refused, what is read, and whose side is which."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from inference.densitometry import lung_mask
from inference.errors import RefusalCode, VolumeRefusal
from inference.lung_coverage import open_ends, refuse_truncated
from inference.lungs import find_lungs
from inference.volume import CTVolume
from phantom.cases import HELD_OUT_SEEDS, Case
from phantom.grid import centred_grid
from phantom.render import render, thorax
from tests.inference.lung_truth import dice, lung_truth
from tests.inference.synthetic import volume_of

Mask = NDArray[np.bool_]
Values = NDArray[np.float64]

CASE = Case(HELD_OUT_SEEDS[0], ())
STEP_MM, PIXEL_MM, SIDE = 4.0, 3.0, 160
GRID = centred_grid((STEP_MM, PIXEL_MM, PIXEL_MM), (76, SIDE, SIDE))
X, Y = GRID.x_mm[np.newaxis, :], GRID.y_mm[:, np.newaxis]


def noise(shape: tuple[int, ...], hu: float = 12.0) -> Values:
    return np.random.default_rng(5).normal(0, hu, shape)


def volume(voxels: NDArray[np.generic]) -> CTVolume:
    affine = np.diag([PIXEL_MM, PIXEL_MM, STEP_MM, 1.0])
    affine[:3, 3] = GRID.origin_mm
    whole = np.clip(np.rint(voxels.astype(np.float64)), -1024, 3071).astype(np.int16)
    return volume_of(whole, GRID.spacing_mm, affine=affine)


@cache
def chest() -> tuple[Values, Mask, Mask]:
    """A thorax with its left and right lung."""
    lungs = lung_truth(CASE, GRID)
    on_left = np.broadcast_to(thorax(CASE).centre[0] < X, lungs.shape)
    voxels = render(CASE, GRID, noise_hu=12.0, rng=np.random.default_rng(1)).astype(np.float64)
    return voxels, lungs & on_left, lungs & ~on_left


@cache
def levels() -> tuple[int, int]:
    """First and last slice with lungs."""
    _, left, right = chest()
    planes = np.flatnonzero((left | right).any(axis=(1, 2)))
    return int(planes[0]), int(planes[-1])


def body(slices: int) -> Values:
    """A trunk of water in air, without noise."""
    plane = np.where((X / 165) ** 2 + (Y / 115) ** 2 < 1, 40.0, -1000.0)
    return np.repeat(plane[np.newaxis], slices, axis=0)


def disc(x_mm: float, y_mm: float, width_mm: float, depth_mm: float) -> Mask:
    """An ellipse of these half axes in the plane."""
    inside: Mask = ((X - x_mm) / width_mm) ** 2 + ((Y - y_mm) / depth_mm) ** 2 < 1
    return inside


def colon(values: Callable[[tuple[int, ...]], Values], slices: int = 80) -> Values:
    """An abdomen with both flanks full of something over 240 mm, and a spine."""
    trunk = body(slices)
    trunk[:, disc(0, 75, 28, 22)] = 300
    for x_mm in (-105, 105):
        place = disc(x_mm, -10, 34, 34)
        trunk[10:70, place] = values(trunk.shape)[10:70, place]
    return trunk + noise(trunk.shape)


def mottled(mean_hu: float, spread_hu: float) -> Callable[[tuple[int, ...]], Values]:
    """Stool with gas in it."""

    def values(shape: tuple[int, ...]) -> Values:
        field = ndimage.gaussian_filter(np.random.default_rng(2).normal(size=shape), 1.2)
        mixed: Values = mean_hu + spread_hu * field / field.std()
        return mixed

    return values


def colonography() -> Values:
    """A colon blown up with gas."""
    trunk = colon(lambda shape: np.full(shape, -1000.0))
    trunk[55:70, disc(0, -50, 110, 28)] = -1000
    return trunk


def foam(noise_hu: float) -> Values:
    """A thorax of water with lungs of foam, pixels of 1 mm averaged to 3 mm by the noise's measure."""
    trunk = body(70)
    trunk[:, disc(-75, 0, 50, 70) | disc(75, 0, 50, 70)] = -850
    return trunk + noise(trunk.shape, noise_hu / 3)


def legs(between_hu: float) -> Values:
    both = disc(-70, 0, 60, 60) | disc(70, 0, 60, 60)
    plane = np.where(both, 40.0, between_hu)
    return np.repeat(plane[np.newaxis], 80, axis=0) + noise((80, SIDE, SIDE), 30)


def bases(share: float) -> Values:
    """An abdomen with the lowest part of the lungs at its top."""
    voxels, *_ = chest()
    first, last = levels()
    lowest = voxels[:1]
    abdomen = np.where(lowest > -300, 30, lowest).repeat(60, axis=0)
    for number in range(8):
        abdomen[7 * number : 7 * number + 10, disc(25 * number - 90, 12 * (number % 3) - 40, 20, 20)] = -1000
    return np.concatenate([abdomen, voxels[: first + round(share * (last - first))]])


def apices(share: float) -> Values:
    """A neck with the uppermost part of the lungs at its lower end."""
    voxels, *_ = chest()
    first, last = levels()
    return np.concatenate([voxels[last - round(share * (last - first)) :], voxels[-1:].repeat(40, axis=0)])


OTHERS: dict[str, Callable[[], Values]] = {
    "a colon full of dry stool": lambda: colon(mottled(-500, 250)),
    "a colon full of foamy stool": lambda: colon(mottled(-700, 100)),
    "CT colonography": colonography,
    "foam": lambda: foam(30),
    "foam in the noise of a sharp kernel": lambda: foam(150),
    "legs with air between them": lambda: legs(-1000),
    "legs in a blanket": lambda: legs(-900),
    "an abdomen with the tips of the lungs": lambda: bases(0.15),
    "a neck with the tips of the lungs": lambda: apices(0.15),
}


@pytest.mark.parametrize("scene", OTHERS.values(), ids=list(OTHERS))
def test_what_is_no_chest_has_no_lungs(scene: Callable[[], Values]) -> None:
    with pytest.raises(VolumeRefusal) as caught:
        find_lungs(volume(scene()))
    assert caught.value.code is RefusalCode.NO_LUNGS


@pytest.mark.parametrize(
    ("voxels", "end"),
    [(lambda: bases(0.45), "head"), (lambda: bases(0.7), "head"), (lambda: apices(0.4), "feet")],
    ids=["abdomen with half the lungs", "abdomen with most of the lungs", "neck with the upper lungs"],
)
def test_a_neighbouring_region_with_a_part_of_the_lungs_is_cut_off(
    voxels: Callable[[], Values], end: str
) -> None:
    lungs = find_lungs(volume(voxels()))
    assert [found.end for found in open_ends(lungs)] == [end]
    with pytest.raises(VolumeRefusal) as caught:
        refuse_truncated(lungs)
    assert caught.value.code is RefusalCode.LUNGS_TRUNCATED


def assert_sides(voxels: Values, left: Mask, right: Mask, least: float = 0.97) -> None:
    """Each lung is found on its side, and none where there is none."""
    series = volume(voxels)
    lungs = find_lungs(series)
    refuse_truncated(lungs)
    for found, truth in zip(lung_mask(series, lungs), (left, right), strict=True):
        if truth.any():
            assert dice(found, truth) > least
        else:
            assert not found.any()


def arms_down(voxels: Values) -> Values:
    held = voxels.copy()
    held[:60, disc(-212, 10, 30, 30) | disc(212, 10, 30, 30)] = 40
    return held


def whole_body(voxels: Values) -> Values:
    """Legs with air between them below, an abdomen full of gas, and a head above."""
    head = np.where(disc(0, 0, 80, 95), 40.0, -1000.0)[np.newaxis].repeat(50, axis=0)
    return np.concatenate([legs(-1000), colonography(), voxels, head + noise(head.shape)])


def tracheostomy(voxels: Values) -> Values:
    """The trachea opens to the front in three slices near the top."""
    lumen = (voxels[-5] < -900) & disc(0, 0, 20, 40)
    rows, columns = np.nonzero(lumen)
    opened = voxels.copy()
    opened[-7:-4, : int(rows.mean()), int(columns.mean()) - 2 : int(columns.mean()) + 3] = -1000
    return opened


def test_arms_table_legs_and_a_hole_in_the_throat_change_nothing() -> None:
    voxels, left, right = chest()
    assert_sides(arms_down(voxels), left, right)
    assert_sides(tracheostomy(voxels), left, right)
    whole = whole_body(voxels)
    below = 80 + 80
    around = [(below, len(whole) - below - len(voxels)), (0, 0), (0, 0)]
    assert_sides(whole, np.pad(left, around), np.pad(right, around))


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_sides_are_the_patients_whichever_side_he_lies_on(quarters: int) -> None:
    """Prone and on either side: the picture is turned, the affine says so."""
    voxels, left, right = chest()
    upright = volume(voxels)
    rows, columns = (np.rot90(index, quarters) for index in np.indices((SIDE, SIDE)))
    corners = [(0, 0), (0, 1), (1, 0)]
    origin, along, down = (upright.affine @ [columns[at], rows[at], 0, 1] for at in corners)
    affine = upright.affine.copy()
    affine[:, 0], affine[:, 1], affine[:, 3] = along - origin, down - origin, origin
    turned = replace(upright, voxels_hu=np.rot90(upright.voxels_hu, quarters, (1, 2)), affine=affine)
    found = lung_mask(turned, find_lungs(turned))
    for mask, truth in zip(found, (left, right), strict=True):
        assert dice(mask, np.rot90(truth, quarters, (1, 2))) > 0.97


@pytest.mark.parametrize("depth_mm", [6, 15, 24])
def test_lungs_that_touch_in_front_are_told_apart(depth_mm: int) -> None:
    """As in emphysema, where nothing but the junction line lies between them."""
    voxels, left, right = chest()
    voxels, both = voxels.copy(), left | right
    for index in range(levels()[0], levels()[1]):
        rows = np.flatnonzero(both[index].any(axis=1))
        for row in range(rows[0] + 4, rows[0] + 4 + round(depth_mm / PIXEL_MM)):
            columns = np.flatnonzero(both[index, row])
            if len(columns):
                across = slice(columns[0], columns[-1] + 1)
                between = ~both[index, row, across]
                voxels[index, row, across][between] = -860
                both[index, row, across] = True
    on_left = np.broadcast_to(thorax(CASE).centre[0] < X, both.shape)
    assert_sides(voxels, both & on_left, both & ~on_left)


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_white_hemithorax_leaves_one_lung(side: str) -> None:
    voxels, left, right = chest()
    voxels = voxels.copy()
    gone, kept = (left, right) if side == "left" else (right, left)
    voxels[gone] = 20
    none = np.zeros_like(gone)
    assert_sides(voxels, *((none, kept) if side == "left" else (kept, none)))


def test_a_single_lung_that_reaches_over_the_midline_is_one_lung() -> None:
    """After the other was taken out: four tenths of it lie on the other side."""
    voxels, left, right = chest()
    emptied = voxels.copy()
    emptied[left | right] = 20
    moved = np.roll(right, 18, axis=2)
    emptied[moved] = np.roll(voxels, 18, axis=2)[moved]
    beyond = float((moved & np.broadcast_to(thorax(CASE).centre[0] < X, moved.shape)).sum() / moved.sum())
    assert 0.38 < beyond < 0.44
    assert_sides(emptied, np.zeros_like(left), moved)


def test_gas_that_takes_the_place_of_a_lung_counts_as_that_lung() -> None:
    """A giant bulla, or a lung that has collapsed altogether."""
    voxels, left, right = chest()
    gas = voxels.copy()
    gas[left] = -998 + noise(gas.shape)[left]
    assert_sides(gas, left, right)


def test_a_stomach_full_of_gas_beside_a_white_hemithorax_is_no_lung() -> None:
    voxels, left, _ = chest()
    voxels = voxels.copy()
    voxels[left] = 20
    first, last = levels()
    stomach = disc(70, -20, 45, 40)
    voxels[max(first - 10, 0) : first + (last - first) // 3, stomach] = -1000
    lungs = find_lungs(volume(voxels))
    assert not lungs.left.any()
    assert lungs.right.any()


def test_a_hiatal_hernia_is_no_lung() -> None:
    voxels, left, right = chest()
    voxels = voxels.copy()
    first, last = levels()
    height = first + int(0.35 * (last - first))
    z_mm = STEP_MM * (np.arange(len(voxels)) - height)[:, np.newaxis, np.newaxis]
    distance = np.sqrt(z_mm**2 + (Y - 45) ** 2 + (X - 8) ** 2)
    voxels[distance < 45] = 40
    gas = (distance < 40) & (np.broadcast_to(Y, distance.shape) < 45)
    voxels[gas] = -1000
    series = volume(voxels)
    found_left, found_right = lung_mask(series, find_lungs(series))
    assert not ((found_left | found_right) & gas).any()
    assert dice(found_left | found_right, (left | right) & (distance >= 45)) > 0.98


@pytest.mark.parametrize("lower_hu", [0, 40])
def test_severe_emphysema_is_lung(lower_hu: int) -> None:
    case = replace(CASE, findings=("Emphysema",))
    voxels = render(case, GRID, noise_hu=12.0, rng=np.random.default_rng(1)).astype(np.float64)
    lungs = lung_truth(case, GRID)
    thinned = lungs & (voxels < -700)
    voxels[thinned] = np.maximum(voxels[thinned] - lower_hu, -1010)
    found = find_lungs(volume(voxels))
    assert found.mean_hu < -920
    assert dice(found.left | found.right, lungs) > 0.95
