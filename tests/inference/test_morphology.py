from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from inference.morphology import closed, dilated, eroded, opened


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.95])
def test_all_of_them_are_scipys(steps: int, share: float) -> None:
    mask = np.random.default_rng(steps).random((12, 14, 9)) < share
    grown = ndimage.binary_dilation(mask, iterations=steps)
    np.testing.assert_array_equal(dilated(mask, steps), grown)
    np.testing.assert_array_equal(eroded(mask, steps), ndimage.binary_erosion(mask, iterations=steps))
    np.testing.assert_array_equal(
        eroded(mask, steps, beyond=True), ndimage.binary_erosion(mask, iterations=steps, border_value=1)
    )
    np.testing.assert_array_equal(opened(mask, steps), ndimage.binary_opening(mask, iterations=steps))
    shrunk = ndimage.binary_erosion(grown, iterations=steps, border_value=1)
    np.testing.assert_array_equal(closed(mask, steps), shrunk)


def test_the_mask_itself_is_left_alone() -> None:
    mask = np.zeros((5, 5, 5), bool)
    mask[2, 2, 2] = True
    dilated(mask)
    eroded(mask)
    assert mask.sum() == 1
