import numpy as np
import pytest
import torch
from torch.nn import functional

from phantom.grid import Grid, centred_grid, prepared_grid


def test_a_centred_grid_has_the_origin_in_its_middle():
    grid = centred_grid((2.5, 0.7, 0.8), (121, 512, 400))
    for axis in (grid.x_mm, grid.y_mm, grid.z_mm):
        assert axis[0] == pytest.approx(-axis[-1], abs=1e-4)
    assert np.diff(grid.y_mm) == pytest.approx(0.7, abs=1e-3)


def test_a_slab_lies_where_it_lay_in_the_whole():
    grid = Grid((1.0, 2.0, 3.0), (2.5, 0.7, 0.8), (20, 8, 8))
    assert np.array_equal(grid.slices(5, 9).z_mm, grid.z_mm[5:9])


@pytest.mark.parametrize(
    ("spacing", "shape", "target", "size"),
    [
        ((2.5, 0.71, 0.71), (121, 512, 512), (4.5, 2.25, 2.25), (80, 160, 160)),
        ((2.5, 0.80, 0.80), (160, 512, 512), (4.5, 2.25, 2.25), (80, 160, 160)),
        ((1.0, 0.70, 0.66), (300, 200, 300), (1.5, 0.75, 0.75), (240, 100, 400)),
    ],
)
def test_positions_are_those_that_resampling_reads(spacing, shape, target, size):
    """An image of its own coordinates, resampled and centred by torch, says where each voxel came from."""
    grid = centred_grid(spacing, shape)
    prepared = prepared_grid(grid, target, size)
    for axis, own, expected in zip(
        range(3),
        (grid.z_mm, grid.y_mm, grid.x_mm),
        (prepared.grid.z_mm, prepared.grid.y_mm, prepared.grid.x_mm),
        strict=True,
    ):
        new = int(np.float32(shape[axis]) * (np.float32(spacing[axis]) / np.float32(target[axis])))
        resampled = functional.interpolate(
            torch.from_numpy(own)[None, None], size=new, mode="linear", align_corners=False
        ).numpy()[0, 0]
        padded = np.full(size[axis], np.nan, dtype=np.float32)
        before, cut = max(0, (size[axis] - new) // 2), max(0, (new - size[axis]) // 2)
        kept = min(new, size[axis])
        padded[before : before + kept] = resampled[cut : cut + kept]
        got = np.full(size[axis], np.nan, dtype=np.float32)
        got[prepared.offset[axis] : prepared.offset[axis] + len(expected)] = expected
        # The outermost voxels of an acquisition are extrapolated by torch with the border value.
        np.testing.assert_allclose(
            got[before + 1 : before + kept - 1], padded[before + 1 : before + kept - 1], atol=2e-3
        )
        assert np.array_equal(np.isnan(got), np.isnan(padded))
