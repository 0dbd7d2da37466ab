"""Left, back and head are the patient's, whatever the orientation in which a series is stored."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from inference.encoder_input import encoder_input
from inference.upright import upright
from inference.volume import CTVolume, read_volume
from models.manifest import InputSpec
from tests.inference.marked_body import BODY_MM, CENTRE, MARKER, MARKER_HU, ORIENTATIONS, marked_series
from tests.inference.synthetic import save

AXES = {"left-right": 0, "front-back": 1, "head-foot": 2}
SPEC = InputSpec((2.0, 1.0, 1.0), (56, 128, 128), 5)


@pytest.fixture(scope="module", params=ORIENTATIONS, ids=list(ORIENTATIONS))
def volume(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> CTVolume:
    folder = tmp_path_factory.mktemp("series")
    return read_volume(save(marked_series(ORIENTATIONS[request.param]), folder))


def middle(values: NDArray[np.floating | np.integer], above: float) -> NDArray[np.float64]:
    """Mean index of what is brighter."""
    return np.argwhere(values > above).mean(axis=0)


def in_the_corner(place: NDArray[np.float64], values: NDArray[np.number], axis: int) -> bool:
    """Whether an index lies on the far side of the middle along an axis, as far out as the marker."""
    return bool(place[axis] - (values.shape[axis] - 1) / 2 > 0.12 * values.shape[axis])


@pytest.mark.parametrize("axis", AXES.values(), ids=list(AXES))
def test_the_affine_says_where_the_marker_is(volume: CTVolume, axis: int) -> None:
    index, row, column = middle(volume.voxels_hu, MARKER_HU / 2)
    place = (volume.affine @ [column, row, index, 1])[:3]
    assert place[axis] == pytest.approx(MARKER[axis], abs=1.2)
    for flipped in range(3):  # the same test notices each flip of the array
        other = middle(np.flip(volume.voxels_hu, flipped), MARKER_HU / 2)
        moved = (volume.affine @ [other[2], other[1], other[0], 1])[:3]
        assert np.abs(moved - MARKER).max() > 10


@pytest.mark.parametrize("axis", AXES.values(), ids=list(AXES))
def test_an_upright_volume_ascends_to_left_back_and_head(volume: CTVolume, axis: int) -> None:
    turned = upright(volume)
    values = turned.voxels_hu
    place = middle(values, MARKER_HU / 2)
    along = 2 - axis  # [z, y, x]
    assert in_the_corner(place, values, along)
    flipped = np.flip(values, along)
    assert not in_the_corner(middle(flipped, MARKER_HU / 2), flipped, along)
    index, row, column, _ = turned.to_source @ [*place, 1]
    assert (volume.affine @ [column, row, index, 1])[axis] == pytest.approx(MARKER[axis], abs=1.2)


@pytest.mark.parametrize("axis", AXES.values(), ids=list(AXES))
def test_the_networks_see_left_back_and_head_where_they_expect_them(volume: CTVolume, axis: int) -> None:
    prepared = encoder_input(volume, SPEC)
    values = prepared.tensor.numpy()
    place = middle(values, MARKER_HU / 2000)
    along = {0: 1, 1: 2, 2: 0}[axis]  # (z, x, y)
    assert in_the_corner(place, values, along)
    flipped = np.flip(values, along)
    assert not in_the_corner(middle(flipped, MARKER_HU / 2000), flipped, along)
    index, row, column = prepared.source_index(place)
    assert (volume.affine @ [column, row, index, 1])[axis] == pytest.approx(MARKER[axis], abs=1.5)
    body = middle(values, -0.5)
    index, row, column = prepared.source_index(body)
    assert (volume.affine @ [column, row, index, 1])[axis] == pytest.approx(CENTRE[axis], abs=1.5)
    reach = np.argwhere(values > -0.5)[:, along]
    extent_mm = (reach.max() - reach.min() + 1) * SPEC.spacing_mm[along]
    assert extent_mm == pytest.approx(2 * BODY_MM[axis], rel=0.35)
