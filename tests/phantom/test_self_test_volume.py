"""The volume of the self-test: small, always the same, and a chest that the node can read."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from inference.lungs import find_lungs
from inference.nifti import read_nifti
from phantom.self_test_volume import SHAPE, SPACING_MM, write_self_test_volume


def test_the_volume_is_small_the_same_and_a_chest(tmp_path: Path) -> None:
    first, second = tmp_path / "first.nii.gz", tmp_path / "second.nii.gz"
    for path in (first, second):
        write_self_test_volume(path)
    assert first.read_bytes() == second.read_bytes()
    assert first.stat().st_size < 1_500_000
    volume = read_nifti(first, name="x")
    assert volume.warnings == ()
    assert volume.voxels_hu.shape == SHAPE
    assert volume.spacing_mm == SPACING_MM
    assert volume.voxels_hu.dtype == np.int16
    assert find_lungs(volume) is not None
