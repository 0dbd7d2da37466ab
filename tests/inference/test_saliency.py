from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from inference.encoder_input import EncoderInput, encoder_input
from inference.findings import finding_saliency
from inference.members import Ensemble
from inference.saliency import SaliencyMap, anomaly_saliency, saliency_maps
from inference.slice_member import AnomalyMaps
from inference.volume import CTVolume
from models.bundle import Bundle, load_bundle
from models.ctvit import pooled_tokens
from models.manifest import InputSpec
from phantom.cases import HELD_OUT_SEEDS, Case
from phantom.grid import centred_grid
from phantom.render import render
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
    assert (found.points[0, 0, 0] < -0.5).any()
    assert all(0 <= index < size for index, size in zip(peak, volume.voxels_hu.shape, strict=True))


def straight(volume: CTVolume) -> CTVolume:
    return volume


def feet_first(volume: CTVolume) -> CTVolume:
    turned = volume.affine @ np.diag([1.0, 1.0, -1.0, 1.0])
    return replace(volume, affine=turned)


def prone(volume: CTVolume) -> CTVolume:
    return replace(volume, affine=volume.affine @ np.diag([-1.0, -1.0, 1.0, 1.0]))


def oblique(volume: CTVolume) -> CTVolume:
    angle = np.deg2rad(12.0)
    turn = np.eye(4)
    turn[:3, :3] = [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    return replace(volume, affine=turn @ volume.affine)


@pytest.mark.parametrize("place", [straight, feet_first, prone, oblique])
@pytest.mark.parametrize("spec", [SPEC, InputSpec((4.0, 2.0, 2.0), (24, 64, 80), 5)])
def test_in_the_ct_a_token_is_where_its_tissue_is(
    place: Callable[[CTVolume], CTVolume], spec: InputSpec
) -> None:
    """A bright ball in the CT makes bright places in the encoder input; their tokens must lead back to it."""
    index, row, column = 13, 25, 40
    slices, rows, columns = np.ogrid[:20, :70, :60]
    ball = (3.0 * (slices - index)) ** 2 + (1.3 * (rows - row)) ** 2 + (1.4 * (columns - column)) ** 2 < 12**2
    volume = place(volume_of(np.where(ball, 800, -900).astype(np.int16), (3.0, 1.3, 1.4)))
    prepared = encoder_input(volume, spec)
    brightness = (prepared.tensor + 1).clamp(min=0)
    tokens = torch.nn.functional.adaptive_avg_pool3d(brightness[None], (6, 8, 8))[0]
    leaf = tokens[None, ..., None]
    (found,) = saliency_maps(
        lambda values: pooled_tokens(values).sum(dim=1, keepdim=True), leaf, [0], prepared, ball.shape
    )
    whole = found.volume()
    weights = np.where(whole > 0.5 * whole.max(), whole, 0)
    centre = [float((weights * axis).sum() / weights.sum()) for axis in np.ogrid[:20, :70, :60]]
    off_mm = np.abs(np.array(centre) - (index, row, column)) * (3.0, 1.3, 1.4)
    assert (off_mm < 6).all(), f"{off_mm} mm from the ball"
    assert weights[ball].sum() > 0.3 * weights.sum()
    np.testing.assert_array_equal(found.plane(index), whole[index])


def test_peak_and_resampled_maximum_agree(study: tuple[CTVolume, EncoderInput]) -> None:
    volume, prepared = study
    tokens = torch.rand(1, *GRID, 4, generator=torch.Generator().manual_seed(4)) + 0.1
    (found,) = saliency_maps(
        lambda leaf: pooled_tokens(leaf).square().sum(dim=1, keepdim=True),
        tokens,
        [0],
        prepared,
        volume.voxels_hu.shape,
    )
    whole = found.volume()
    top = np.unravel_index(int(whole.argmax()), whole.shape)
    half_token = 0.5 * np.abs(found.points[1, 1, 1] - found.points[0, 0, 0])
    assert (np.abs(np.array(top) - found.peak()) <= half_token + 1).all()
    assert whole.max() <= found.values.max() + 1e-6


def test_the_maps_of_a_linear_head_add_up_to_its_score(study: tuple[CTVolume, EncoderInput]) -> None:
    volume, prepared = study
    generator = torch.Generator().manual_seed(2)
    tokens = torch.rand(1, *GRID, 6, generator=generator)
    matrix = torch.rand(GRID[1] * GRID[2] * 6, 3, generator=generator)  # no negative share, so none is cut
    maps = saliency_maps(
        lambda leaf: pooled_tokens(leaf) @ matrix, tokens, [2, 0], prepared, volume.voxels_hu.shape
    )
    scores = (pooled_tokens(tokens) @ matrix)[0]
    assert maps[0].values.sum() == pytest.approx(scores[2].item(), rel=1e-5)
    assert maps[1].values.sum() == pytest.approx(scores[0].item(), rel=1e-5)


def test_a_map_is_what_a_small_change_of_a_token_does(study: tuple[CTVolume, EncoderInput]) -> None:
    volume, prepared = study
    generator = torch.Generator().manual_seed(3)
    tokens = torch.rand(1, *GRID, 6, generator=generator, dtype=torch.float64)
    matrix = torch.randn(GRID[1] * GRID[2] * 6, 1, generator=generator, dtype=torch.float64)

    def score(leaf: torch.Tensor) -> torch.Tensor:
        return (pooled_tokens(leaf) @ matrix / 5).tanh()

    (found,) = saliency_maps(score, tokens, [0], prepared, volume.voxels_hu.shape)
    changed, step = tokens.clone(), 1e-6
    changed[0, 1, 2, 3] *= 1 + step
    slope = ((score(changed) - score(tokens)) / step).item()
    assert found.values[1, 2, 3] == pytest.approx(max(slope, 0), rel=1e-4, abs=1e-6)


def test_the_anomaly_map_lies_between_its_planes_and_ends_half_a_gap_beyond_them() -> None:
    volume = volume_of(np.zeros((24, 32, 40), np.int16), (5.0, 2.5, 2.5))
    prepared = encoder_input(volume, InputSpec((5.0, 2.5, 2.5), (24, 40, 32), 5))
    maps = np.stack([np.full((20, 16), value, np.float32) for value in (1, 3, 7)])
    found = anomaly_saliency(AnomalyMaps((4, 8, 18), maps, (1, 3, 7)), prepared, volume.voxels_hu.shape)
    middle = found.volume()[:, 16, 20]
    expected = [0, 0, 1, 1, 1, 1.5, 2, 2.5, 3, *np.arange(3.4, 7.1, 0.4), 7, 7, 7, 7, 7]
    np.testing.assert_allclose(middle, expected, atol=1e-5)
    peak = found.peak()
    assert peak is not None
    assert peak[0] == 18


DEMO = Path(__file__).resolve().parents[2] / "best_models" / "demo"


@pytest.fixture(scope="module")
def effusion() -> tuple[CTVolume, EncoderInput, Case]:
    """A thorax with a pleural effusion on the encoder's own spacing, and the input of the demonstration."""
    case = Case(HELD_OUT_SEEDS[5], ("Pleural effusion",))
    grid = centred_grid((4.5, 2.25, 2.25), (80, 160, 160))
    volume = volume_of(render(case, grid), grid.spacing_mm)
    return volume, encoder_input(volume, load_bundle(DEMO).manifest.input), case


def shuffled(network: torch.nn.Module) -> None:
    """The same numbers in other places: weights that were never trained."""
    generator = torch.Generator().manual_seed(11)
    for tensor in network.parameters():
        order = torch.randperm(tensor.numel(), generator=generator)
        tensor.data = tensor.data.flatten()[order].view_as(tensor)


def maps_of(
    study: tuple[CTVolume, EncoderInput, Case], redraw: Callable[[Bundle], torch.nn.Module | None] | None
) -> tuple[SaliencyMap, SaliencyMap]:
    """Saliency of the effusion and the anomaly map, after the weights of one network were drawn anew."""
    volume, prepared, _ = study
    bundle = load_bundle(DEMO)
    network = redraw(bundle) if redraw is not None else None
    if network is not None:
        shuffled(network)
    ensemble = Ensemble(bundle)
    reading = ensemble.read(prepared.tensor, [f"plane {index}" for index in range(len(prepared.tensor))])
    assert reading.anomaly is not None
    found = finding_saliency(ensemble, reading, prepared, volume, None)["Pleural effusion"]
    return found, anomaly_saliency(reading.anomaly, prepared, volume.voxels_hu.shape)


def correlation(one: SaliencyMap, other: SaliencyMap) -> float:
    return float(np.corrcoef(one.values.ravel(), other.values.ravel())[0, 1])


@pytest.fixture(scope="module")
def trained(effusion: tuple[CTVolume, EncoderInput, Case]) -> tuple[SaliencyMap, SaliencyMap]:
    return maps_of(effusion, None)


@pytest.mark.parametrize("network", ["tower", "head"])
def test_without_training_the_saliency_is_another(
    effusion: tuple[CTVolume, EncoderInput, Case], trained: tuple[SaliencyMap, SaliencyMap], network: str
) -> None:
    def redraw(bundle: Bundle) -> torch.nn.Module | None:
        return bundle.towers["main"] if network == "tower" else bundle.supervised

    found, _ = maps_of(effusion, redraw)
    assert correlation(found, trained[0]) < 0.5


def test_without_training_the_anomaly_map_is_another(
    effusion: tuple[CTVolume, EncoderInput, Case], trained: tuple[SaliencyMap, SaliencyMap]
) -> None:
    _, anomaly = maps_of(effusion, lambda bundle: bundle.unet)
    assert correlation(anomaly, trained[1]) < 0.5


def test_the_trained_maps_are_the_same_each_time(
    effusion: tuple[CTVolume, EncoderInput, Case], trained: tuple[SaliencyMap, SaliencyMap]
) -> None:
    again = maps_of(effusion, None)
    assert correlation(again[0], trained[0]) > 0.999
    assert correlation(again[1], trained[1]) > 0.999
