"""A tiny random bundle with a real fusion model, and volumes and files made on the spot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import lightgbm
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import inference.reading_pool
import inference.reading_process
from models.manifest import BundleManifest, FusionSpec
from models.manifest_file import write_manifest
from tests.models import small_bundle
from tests.torch_threads import torch_threads

COLUMNS = (
    "supervised_Lung nodule",
    "ctclip_Emphysema",
    "supervised_max_probability",
    "ctclip_group_airways_mean",
    "diffusion_classifier_mean_probability",
    "diffusion_reconstruction_max",
)


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    with torch_threads(1):
        yield


@pytest.fixture
def fresh_processes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No reading process that was started before the test, and none after it; they are soon given up."""
    inference.reading_pool.READERS.close()
    monkeypatch.setattr(inference.reading_process, "ANSWER_TIMEOUT_S", 3.0)
    monkeypatch.setattr(inference.reading_process, "_START_TIMEOUT_S", 30.0)
    yield
    inference.reading_pool.READERS.close()


def write_fusion(path: Path, columns: tuple[str, ...], seed: int = 3) -> None:
    """A LightGBM model over the columns, fitted to a rule that uses all of them."""
    rng = np.random.default_rng(seed)
    rows = rng.random((400, len(columns)))
    truth = (rows.mean(axis=1) > 0.5).astype(int)
    data = lightgbm.Dataset(rows, truth, feature_name=[name.replace(" ", "_") for name in columns])
    settings = {"objective": "binary", "num_leaves": 7, "verbose": -1, "num_threads": 1, "seed": seed}
    lightgbm.train(settings, data, num_boost_round=12).save_model(str(path))


def write_bundle(folder: Path, manifest: BundleManifest, seed: int = 7) -> Path:
    """Random networks of the small sizes with the given manifest; fusion over its columns."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    for file, network in small_bundle.networks().items():
        for parameter in network.parameters():
            if seed != 7:
                parameter.data += 0.3 * torch.randn_like(parameter)
        state = dict(network.state_dict())
        if file == "ctclip.safetensors":
            state["text_latents"] = small_bundle.text_latents()
        save_file(state, folder / file)
    if manifest.fusion is not None:
        write_fusion(folder / manifest.fusion.file, manifest.fusion.columns)
    write_manifest(folder, manifest)
    return folder


def manifest() -> BundleManifest:
    fusion = FusionSpec("fusion.txt", 0.5, COLUMNS, {}, {"airways": ("Emphysema",)})
    return replace(small_bundle.manifest(), fusion=fusion)


@pytest.fixture(scope="session")
def bundle_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundle"), manifest())
