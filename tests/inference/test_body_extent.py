"""The body on the coarse grid: which points it holds, and its smooth edge on a slice of the CT."""

from __future__ import annotations

import numpy as np

from inference.body_extent import BODY_EDGE, BodyExtent
from inference.lungs import find_lungs
from phantom.cases import DEMO_SEEDS, Case
from phantom.grid import centred_grid
from phantom.render import render
from tests.inference.synthetic import volume_of


def box() -> BodyExtent:
    """Slices 2 to 5, rows 6 to 17 and columns 8 to 31 of a CT of 8 x 25 x 42 voxels."""
    inside = np.zeros((4, 8, 10), bool)
    inside[1:3, 2:6, 2:8] = True
    return BodyExtent(inside, (2, 3, 4), (8, 25, 42))


def test_points_of_the_body_are_those_in_its_coarse_voxels() -> None:
    inner = np.array(
        [[1.6, 11, 20], [2, 11, 20], [5.4, 11, 20], [3, 6, 20], [3, 17, 20], [3, 11, 8], [3, 11, 31]]
    )
    outer = np.array(
        [[1.4, 10, 20], [6, 10, 20], [3, 5, 20], [3, 18, 20], [3, 10, 7], [3, 10, 32], [-9, 0, 0]]
    )
    assert box().holds(inner).all()
    assert not box().holds(outer).any()
    assert not box().holds(np.array([3.0, 6, 8]))  # a corner is rounded
    everything = BodyExtent(np.ones((4, 8, 10), bool), (2, 3, 4), (8, 25, 42))
    assert everything.holds(np.array([7, 24, 41.0]))  # what is left over at the far borders is known, too
    outside = [[-1.0, 3, 3], [30, 3, 3], [3, 3, 80], [8, 3, 3], [3, 25, 3], [3, 3, 42]]
    assert not everything.holds(np.array(outside)).any()


def test_what_a_slice_shows_as_body_and_what_counts_as_body_are_the_same() -> None:
    """At corners, too, where the edge is rounded: a peak there would have no region."""
    inside = np.random.default_rng(2).random((4, 8, 10)) > 0.4
    body = BodyExtent(inside, (2, 3, 4), (8, 25, 42))
    for index in range(8):
        points = np.stack(np.meshgrid(index, range(25), range(42), indexing="ij"), axis=-1)[0]
        plane = body.plane(index)
        clear = np.abs(plane - BODY_EDGE) > 1e-5
        assert clear.mean() > 0.9
        assert 0.2 < (plane >= BODY_EDGE).mean() < 0.9
        np.testing.assert_array_equal(body.holds(points)[clear], (plane >= BODY_EDGE)[clear])


def test_a_slice_has_the_body_s_edge_between_the_right_pixels() -> None:
    plane = box().plane(3)
    assert plane.shape == (25, 42)
    assert plane[11, 20] > 0.9
    assert max(plane[:, [0, 41]].max(), plane[[0, 24]].max()) < 0.1
    rows, columns = np.flatnonzero(plane[:, 20] > 0.5), np.flatnonzero(plane[11] > 0.5)
    np.testing.assert_allclose([rows[0], rows[-1], columns[0], columns[-1]], [6, 17, 8, 31], atol=1)
    assert box().plane(0).max() == 0
    assert box().plane(7).max() == 0


def test_a_body_that_the_field_of_view_cuts_reaches_the_image_s_edge() -> None:
    assert BodyExtent(np.ones((1, 8, 10), bool), (2, 3, 4), (2, 25, 42)).plane(0).min() > 0.99


def test_lungs_come_with_the_body_around_them_and_without_the_table() -> None:
    spacing = (6.0, 3.0, 3.0)
    hu = render(Case(DEMO_SEEDS[0], ()), centred_grid(spacing, (50, 130, 140)))
    lungs = find_lungs(volume_of(hu, spacing))
    body = lungs.body
    assert body is not None
    assert not (lungs.left & ~body.inside).any()
    assert not (lungs.right & ~body.inside).any()
    middle = body.plane(25) > 0.5
    tissue = hu[25] > -200
    assert (middle & tissue).sum() > 0.9 * tissue.sum()  # the rest is the table
    assert 0.15 < middle.mean() < 0.6  # more than lungs, less than the picture
    table = np.flatnonzero(tissue[:, 70])[-1]
    assert not middle[table - 1 :].any()
