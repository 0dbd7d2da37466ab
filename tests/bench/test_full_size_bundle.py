"""The random bundle loads, is the same from the same seed, and is drawn as it says."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench.full_size_bundle import PUBLISHED_SIZES, draw_weights, full_size_bundle, full_size_manifest
from models.bundle import load_bundle
from models.manifest_file import MANIFEST
from models.published import PUBLISHED_TOWER
from tests.bench.conftest import TINY


def test_a_bundle_with_every_member_loads(tiny_bundle: Path) -> None:
    bundle = load_bundle(tiny_bundle, every_network=True)
    assert set(bundle.towers) == {"main"}
    assert bundle.text_latents is not None
    torch.testing.assert_close(bundle.text_latents.norm(dim=-1), torch.ones(5, 2))
    assert bundle.supervised is not None
    assert bundle.slice_classifier is not None
    assert bundle.unet is not None


def test_two_towers_differ(tmp_path: Path) -> None:
    bundle = load_bundle(full_size_bundle(tmp_path / "two", two_towers=True, sizes=TINY))
    supervised = bundle.manifest.members.supervised
    assert supervised is not None
    assert supervised.tower == "supervised"
    assert not torch.equal(bundle.towers["main"].vq.codes, bundle.towers["supervised"].vq.codes)


def test_the_same_seed_draws_the_same_weights(tiny_bundle: Path, tmp_path: Path) -> None:
    again = full_size_bundle(tmp_path / "again", sizes=TINY)
    assert (again / MANIFEST).read_bytes() == (tiny_bundle / MANIFEST).read_bytes()
    other = full_size_bundle(tmp_path / "other", sizes=TINY, seed=1)
    assert load_bundle(other).digest != load_bundle(tiny_bundle).digest


def test_a_written_bundle_is_kept_and_one_of_another_seed_replaced(tmp_path: Path) -> None:
    folder = full_size_bundle(tmp_path / "kept", sizes=TINY)
    weights = folder / "unet.safetensors"
    written = weights.stat().st_mtime_ns
    full_size_bundle(folder, sizes=TINY)
    assert weights.stat().st_mtime_ns == written
    full_size_bundle(folder, sizes=TINY, seed=1)
    assert load_bundle(folder).manifest.version.endswith(".1")


@pytest.mark.parametrize(
    ("key", "shape", "mean", "spread"),
    [
        ("layers.0.1.norm.gamma", (4000,), 1.0, 0.1),
        ("in_layers.0.weight", (4000,), 1.0, 0.1),
        ("in_layers.0.bias", (4000,), 0.0, 0.05),
        ("to_q.weight", (300, 400), 0.0, 400**-0.5),
        ("in_layers.2.weight", (40, 30, 3, 3), 0.0, 270**-0.5),
    ],
)
def test_weights_have_the_stated_spread(key: str, shape: tuple[int, ...], mean: float, spread: float) -> None:
    values = draw_weights(key, torch.empty(shape, device="meta"), torch.Generator().manual_seed(0))
    assert values.shape == shape
    assert values.mean().item() == pytest.approx(mean, abs=5 * spread / math.sqrt(values.numel()))
    assert values.std().item() == pytest.approx(spread, rel=0.05)


def test_the_published_bundle_has_the_published_sizes() -> None:
    manifest = full_size_manifest()
    assert replace(manifest.towers["main"], file="").grid == PUBLISHED_TOWER.grid
    assert PUBLISHED_SIZES.dim_image == 294_912
    members = manifest.members
    assert members.ctclip is not None
    assert len(members.ctclip.labels) == 55
    assert members.supervised is not None
    assert len(members.supervised.labels) == 15
    assert members.diffusion is not None
    assert members.diffusion.reconstruction is not None
    assert not members.diffusion.reconstruction.enabled
