"""A training small enough for a test: 24 coarse thoraces, a tower of 32 dimensions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from models.ctvit import CTViTConfig
from models.slice_classifier import SliceClassifierConfig
from models.unet import UNetConfig
from tests.torch_threads import torch_threads
from training.dataset import InputGrid, Thoraces, enriched_cases
from training.recipe import (
    Cases,
    EncoderTraining,
    HeadTraining,
    PatchTraining,
    Recipe,
    Reconstruction,
    SliceTraining,
)

PROJECT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    with torch_threads(1):
        yield


@pytest.fixture(scope="session")
def tiny_recipe() -> Recipe:
    return replace(
        Recipe(),
        spacing_mm=(22.5, 11.25, 11.25),
        shape=(16, 32, 32),
        minimum_slices=4,
        dim_latent=16,
        tower=CTViTConfig(
            dim=32,
            codebook_size=32,
            image_size=(32, 32),
            patch_size=8,
            temporal_patch_size=4,
            spatial_depth=1,
            temporal_depth=1,
            dim_head=16,
            heads=2,
        ),
        classifier=SliceClassifierConfig(
            image_size=16,
            model_channels=32,
            num_res_blocks=1,
            attention_resolutions=(2,),
            channel_mult=(1, 1),
            num_head_channels=32,
        ),
        unet=UNetConfig(
            image_size=16, model_channels=32, num_res_blocks=1, attention_resolutions=(), channel_mult=(1, 1)
        ),
        cases=Cases(
            encoder=24, monitoring=12, fusion=24, validation=16, calibration=16, held_out=16, acquisitions=2
        ),
        encoder_training=EncoderTraining(
            steps=40,
            batch=6,
            continuous_steps=20,
            warmup_steps=4,
            learning_rate=2e-3,
            checkpoint_every=10,
            monitor_every=40,
        ),
        patch_training=PatchTraining(steps=10, volumes=2, each=16),
        head_training=HeadTraining(epochs=10, batch=8, moved=1),
        classifier_training=SliceTraining(steps=24, batch=8, learning_rate=2e-3),
        unet_training=SliceTraining(steps=24, batch=4, learning_rate=2e-3),
        reconstruction=Reconstruction(slices=2, steps=2),
    )


@pytest.fixture(scope="session")
def tiny_grid(tiny_recipe: Recipe) -> InputGrid:
    return InputGrid(tiny_recipe.spacing_mm, tiny_recipe.shape)


@pytest.fixture(scope="session")
def tiny_cases(tmp_path_factory: pytest.TempPathFactory, tiny_grid: InputGrid) -> Thoraces:
    data = Thoraces(tmp_path_factory.mktemp("cases"), enriched_cases(range(24)), tiny_grid)
    data.prepare(workers=1)
    return data
