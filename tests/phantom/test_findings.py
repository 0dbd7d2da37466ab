"""Each finding against the same person without it: the seed's anatomy is common to both."""

import numpy as np
import pytest
from scipy import ndimage

from phantom.cases import FINDINGS, Case
from phantom.grid import centred_grid
from phantom.render import finding_masks, render, thorax

GRID = centred_grid((4.0, 2.0, 2.0), (84, 180, 180))
MILLILITRES = 4 * 2 * 2 / 1000
SEEDS = (41, 42, 43)


def _with_and_without(finding, seed):
    case = Case(seed, (finding,))
    ill, well = render(case, GRID, noise_hu=0), render(Case(seed, ()), GRID, noise_hu=0)
    return case, ill, well, finding_masks(case, GRID)[finding]


def _lung(volume, rows):
    """Voxels of lung density in some rows."""
    part = volume[:, rows]
    return part[(part < -600) & (part > -990)]


@pytest.mark.parametrize("finding", FINDINGS)
def test_a_finding_changes_the_image_and_its_mask_says_where(finding):
    for seed in SEEDS:
        _, ill, well, mask = _with_and_without(finding, seed)
        assert mask.shape == GRID.shape
        assert mask.any()
        changed = np.abs(ill[mask].astype(int) - well[mask]) > 60
        assert changed.mean() > (0.3 if finding == "Cardiomegaly" else 0.9)


def test_nodules_are_solid_round_and_10_to_35_mm_across():
    for seed in SEEDS:
        _, ill, well, mask = _with_and_without("Lung nodule", seed)
        assert (ill[mask] > 0).all()
        assert (ill[mask] < 100).all()
        assert np.median(well[mask]) < -700
        labels, count = ndimage.label(mask)
        assert 1 <= count <= 4
        for z, y, x in ndimage.find_objects(labels):
            for extent, step in zip((z, y, x), GRID.spacing_mm, strict=True):
                assert 8 <= (extent.stop - extent.start + 1) * step <= 40


def test_consolidation_is_dense_lung_with_open_bronchi():
    for seed in SEEDS:
        _, ill, well, mask = _with_and_without("Consolidation", seed)
        assert 30 < mask.sum() * MILLILITRES < 900
        assert np.median(ill[mask]) > 0
        assert np.median(well[mask]) < -700
        filled = ndimage.binary_closing(mask, iterations=3)
        assert (ill[filled & ~mask] < -900).any()


def test_effusion_lies_at_the_back_and_is_water():
    for seed in SEEDS:
        _, ill, _, mask = _with_and_without("Pleural effusion", seed)
        assert mask.sum() * MILLILITRES > 60
        assert -5 < np.median(ill[mask]) < 25
        depth = GRID.y_mm - thorax(Case(seed, ())).habitus.centre[1]
        assert (depth[np.nonzero(mask)[1]] > 20).mean() > 0.7


def test_a_large_heart_takes_more_than_half_of_the_chest():
    for seed in SEEDS:
        case, _, _, mask = _with_and_without("Cardiomegaly", seed)
        columns = np.flatnonzero(mask.any(axis=(0, 1)))
        chest = 2 * thorax(case).habitus.cage_width
        assert 0.5 < (columns[-1] - columns[0]) * 2 / chest < 0.75
        normal = thorax(Case(seed, ())).habitus.heart
        assert thorax(case).habitus.heart.radii[0] > 1.3 * normal.radii[0]
        assert 2 * normal.radii[0] * np.cos(normal.turn) / chest < 0.45


def test_emphysema_has_a_large_share_of_lung_below_minus_950_and_low_domes():
    for seed in SEEDS:
        case, ill, well, mask = _with_and_without("Emphysema", seed)
        above_table = GRID.y_mm < thorax(case).habitus.centre[1] + thorax(case).habitus.cage_depth
        shares = [
            (v < -950).sum() / (v < -600).sum() for v in (_lung(ill, above_table), _lung(well, above_table))
        ]
        assert shares[0] > 0.2
        assert shares[1] < 0.05
        assert (ill[mask] < -700).mean() > 0.9  # vessels cross it
        tall, usual = thorax(case).habitus, thorax(Case(seed, ())).habitus
        assert tall.right.dome_centre[2] < usual.right.dome_centre[2] - 10


def test_pneumothorax_is_one_side_of_air_in_front_without_vessels():
    for seed in SEEDS:
        _, ill, well, mask = _with_and_without("Pneumothorax", seed)
        assert mask.sum() * MILLILITRES > 250
        assert (ill[mask] == -1000).all()
        assert (well[mask] > -700).any()  # the lung that was there had some
        middle = GRID.x_mm - thorax(Case(seed, ())).habitus.centre[0]
        sides = np.sign(middle[np.nonzero(mask)[2]])
        assert abs(sides.mean()) > 0.95
        front = GRID.y_mm[np.nonzero(mask)[1]].mean()
        assert front < thorax(Case(seed, ())).habitus.centre[1]


def test_two_findings_do_not_claim_the_same_voxel():
    masks = finding_masks(Case(45, ("Consolidation", "Pleural effusion", "Pneumothorax")), GRID)
    assert np.sum([mask.astype(int) for mask in masks.values()], axis=0).max() == 1
