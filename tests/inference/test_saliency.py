from __future__ import annotations

import numpy as np
import pytest
import torch

from inference.encoder_input import EncoderInput, encoder_input
from inference.saliency import saliency_maps, token_points
from inference.volume import CTVolume
from models.ctvit import pooled_tokens
from models.manifest import InputSpec
from tests.inference.synthetic import volume_of

GRID = (3, 4, 5)  # tokens along z, x, y
SPEC = InputSpec((5.0, 2.5, 2.5), (12, 32, 40), 5)


@pytest.fixture
def study() -> tuple[CTVolume, EncoderInput]:
    volume = volume_of(np.zeros((20, 70, 60), np.int16), (3.0, 1.3, 1.4))
    return volume, encoder_input(volume, SPEC)


def test_the_peak_is_the_place_of_the_token_that_raises_the_score(
    study: tuple[CTVolume, EncoderInput],
) -> None:
    volume, prepared = study
    tokens = torch.ones(1, *GRID, 6)
    tokens[0, 1, 2, 3] = 4.0
    weights = torch.ones(GRID[1] * GRID[2] * 6)
    (found,) = saliency_maps(
        lambda leaf: (pooled_tokens(leaf) @ weights)[:, None], tokens, [0], prepared, volume.voxels_hu.shape
    )
    peak = found.peak()
    assert peak is not None
    z, x, y = (1.5 * 4 - 0.5, 2.5 * 8 - 0.5, 3.5 * 8 - 0.5)  # the token's middle in the tensor
    np.testing.assert_allclose(peak, prepared.source_index(np.array([z, x, y])), atol=0.51)
    # Half the volume's distance along every axis in mm agrees with the tensor's spacing.
    index, row, column = peak
    assert (index + 0.5) * 3.0 == pytest.approx((z + 0.5) * 5.0, abs=1.5)
    assert (column + 0.5) * 1.4 - 42 == pytest.approx((x + 0.5) * 2.5 - 40, abs=2.0)
    assert (row + 0.5) * 1.3 - 45.5 == pytest.approx((y + 0.5) * 2.5 - 50, abs=2.0)


def test_only_what_raises_the_score_counts(study: tuple[CTVolume, EncoderInput]) -> None:
    volume, prepared = study
    tokens = torch.ones(1, *GRID, 2)
    (found,) = saliency_maps(
        lambda leaf: -pooled_tokens(leaf).sum(dim=1, keepdim=True),
        tokens,
        [0],
        prepared,
        volume.voxels_hu.shape,
    )
    assert found.values.max() == 0
    assert found.peak() is None


def test_other_weights_give_another_map(study: tuple[CTVolume, EncoderInput]) -> None:
    volume, prepared = study
    tokens = torch.randn(1, *GRID, 6, generator=torch.Generator().manual_seed(1))
    maps = []
    for seed in (1, 2):
        matrix = torch.randn(GRID[1] * GRID[2] * 6, 3, generator=torch.Generator().manual_seed(seed))
        maps.append(
            saliency_maps(
                lambda leaf, matrix=matrix: (pooled_tokens(leaf) @ matrix / 20).tanh(),
                tokens,
                [2],
                prepared,
                volume.voxels_hu.shape,
            )[0].values
        )
    assert np.corrcoef(maps[0].ravel(), maps[1].ravel())[0, 1] < 0.5


def test_a_token_of_padding_is_never_the_peak() -> None:
    volume = volume_of(np.zeros((20, 30, 30), np.int16), (5.0, 2.5, 2.5))
    prepared = encoder_input(volume, InputSpec((5.0, 2.5, 2.5), (24, 64, 64), 5))
    tokens = torch.ones(1, 3, 8, 8, 2)
    tokens[0, :, 0, 0] = 50.0  # a corner of the padding
    (found,) = saliency_maps(
        lambda leaf: pooled_tokens(leaf).sum(dim=1, keepdim=True),
        tokens,
        [0],
        prepared,
        volume.voxels_hu.shape,
    )
    peak = found.peak()
    assert peak is not None
    assert found.values.max() > found.values[1, 4, 4]
    points = token_points((3, 8, 8), prepared)
    assert (points[0, 0, 0] < -0.5).any()
    assert all(0 <= index < size for index, size in zip(peak, volume.voxels_hu.shape, strict=True))
