"""Tiny networks written by the writer of the full-size ones, and a small chest as a ZIP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.full_size_bundle import NetworkSizes, full_size_bundle
from bench.machine import Products
from bench.study_archive import study_archive
from models.manifest import InputSpec
from tests.models import small_bundle
from tests.torch_threads import torch_threads

TINY = NetworkSizes(
    tower=small_bundle.TOWER,
    dim_latent=8,
    slice_classifier=small_bundle.CLASSIFIER,
    unet=small_bundle.UNET,
    input=InputSpec(spacing_mm=(12.0, 12.0, 8.0), shape=(24, 32, 48), minimum_slices=20),
    prompts=5,
    supervised_labels=3,
)
SLICES = 72
SMALL_PRODUCTS = Products(side=64, seconds=0.0)


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    with torch_threads(1):
        yield


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return full_size_bundle(tmp_path_factory.mktemp("bundles") / "tiny", sizes=TINY)


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return study_archive(tmp_path_factory.mktemp("archive") / "chest.zip", SLICES, side=128)
