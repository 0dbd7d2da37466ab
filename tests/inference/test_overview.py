"""The coronal overview: head up, the patient's right at the left, whatever the orientation of the images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inference.overview import coronal_overview
from inference.volume import read_volume
from tests.inference.marked_body import MARKER_HU, ORIENTATIONS, marked_series
from tests.inference.synthetic import save


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_head_is_up_and_the_right_at_the_left(name: str, tmp_path: Path) -> None:
    volume = read_volume(save(marked_series(ORIENTATIONS[name]), tmp_path))
    centre = np.argwhere(volume.voxels_hu >= MARKER_HU).mean(axis=0)
    place = (volume.affine @ [*centre[::-1], 1])[:3]
    middle = (volume.affine @ [*(np.array(volume.voxels_hu.shape[::-1]) / 2 - 0.5), 1])[:3]
    # The marker is moved into the plane that is taken where nothing is known of lungs.
    sideways = int(np.argmax(np.abs(volume.affine[0, :2])))
    across = 1 if sideways == 0 else 2
    shifted = np.roll(
        volume.voxels_hu, volume.voxels_hu.shape[across] // 2 - round(centre[across]), axis=across
    )
    overview = coronal_overview(replace(volume, voxels_hu=shifted), None)
    row, column = np.argwhere(overview.hu >= MARKER_HU).mean(axis=0)
    rows, columns = overview.hu.shape
    assert (row < rows / 2) == (place[2] > middle[2])  # towards the head is up
    assert (column > columns / 2) == (place[0] > middle[0])  # LPS: x grows to the left, shown at the right
    assert overview.spacing_mm[0] == pytest.approx(volume.spacing_mm[0])
