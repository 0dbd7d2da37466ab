"""The synthetic volume that a bundle carries for its self-test."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel
import numpy as np

from phantom.cases import Case
from phantom.grid import centred_grid
from phantom.render import render

SELF_TEST_VOLUME = "self_test.nii.gz"

# A seed of no training, validation, test or demonstration case; findings on both sides of the chest, so that
# a swap of left and right, front and back or head and foot changes the scores.
CASE = Case(1_300_000, ("Lung nodule", "Consolidation", "Pleural effusion"))
SPACING_MM = (4.0, 3.0, 3.0)
SHAPE = (80, 120, 136)
NOISE_HU = 8.0
_STEP_HU = 4
_RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def write_self_test_volume(path: Path) -> None:
    """Render the thorax and write it as a gzipped int16 NIfTI, the same bytes each time.

    (column, row, slice) with columns towards the patient's left, rows towards the back and slices towards the
    head, which :mod:`inference.nifti` takes as stored; 4 x 3 x 3 mm (z, y, x), in HU. Values are rounded to
    multiples of 4 HU: half the size, and no loss that a self-test could miss.
    """
    grid = centred_grid(SPACING_MM, SHAPE)
    voxels_hu = render(CASE, grid, noise_hu=NOISE_HU)
    coarse = (np.rint(voxels_hu / _STEP_HU) * _STEP_HU).astype(np.int16)
    lps = np.diag([SPACING_MM[2], SPACING_MM[1], SPACING_MM[0], 1.0])
    lps[:3, 3] = grid.origin_mm
    image = nibabel.Nifti1Image(coarse.transpose(2, 1, 0), _RAS_FROM_LPS @ lps)  # type: ignore[no-untyped-call]
    image.header.set_xyzt_units("mm")  # type: ignore[no-untyped-call]
    # Without a name and a time in the gzip header the bytes depend on the voxels alone.
    path.write_bytes(gzip.compress(image.to_bytes(), compresslevel=6, mtime=0))
