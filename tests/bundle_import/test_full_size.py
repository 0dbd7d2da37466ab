"""Full-size checkpoints by the reference's recipe, imported: their bundle gives the original's answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

from bundle_import.assemble import import_bundle
from bundle_import.request import ImportRequest
from models.bundle import Bundle, load_bundle
from models.text_tower import load_tokenizer, prompt_pair
from tests.models.reference import (
    assert_close,
    full_checkpoint,
    full_recipe,
    full_size_network,
    key_list,
    tensors,
)
from tests.torch_threads import torch_threads

pytestmark = pytest.mark.full_size

Import = Callable[..., Bundle]


@pytest.fixture(scope="module", autouse=True)
def two_threads() -> Iterator[None]:
    with torch_threads(2):
        yield


@pytest.fixture(scope="module")
def recipe(parity: Path) -> ModuleType:
    return full_recipe(parity)


@pytest.fixture
def imported(parity: Path, tmp_path: Path) -> Import:
    """A bundle from the named checkpoints, each written and removed in its turn."""

    def checkpoint(name: str) -> Path:
        torch.save(full_checkpoint(parity, name), tmp_path / f"{name}.pt")
        return tmp_path / f"{name}.pt"

    def make(**members: str) -> Bundle:
        files = {option: checkpoint(name) for option, name in members.items()}
        request = ImportRequest(
            name="full",
            bundles_folder=tmp_path / "bundles",
            prompts="ct_rate_18",
            tokenizer=parity.parent / "tokenizer" / "cxr-bert",
            **files,
        )
        import_bundle(request, lambda _: None)
        for file in files.values():
            file.unlink()
        return load_bundle(request.target)

    return make


@pytest.fixture(scope="module")
def expected(parity: Path) -> dict[str, Tensor]:
    return tensors(parity, "full_expected_seed0")


@torch.no_grad()
def test_ctclip(parity: Path, recipe: ModuleType, imported: Import, expected: dict[str, Tensor]) -> None:
    bundle = imported(ctclip="ctclip")
    video = torch.from_numpy(recipe.volume())[None, None]
    tower, head = bundle.towers["main"], bundle.ctclip
    assert head is not None
    assert_close(tower.encode_continuous(video).flatten(0, 3)[expected["pre_vq_rows"]], expected["pre_vq"])
    codes = tower.vq.codes[expected["indices"].long()].view(1, 24, 24, 24, 512)
    image = head.image_latents(codes)
    assert_close(image, expected["image_latents"])
    assert_close(head.logits(image, expected["text_latents"][None])[0, 0], expected["logits"])

    # The stored latents are those of the checkpoint's own BERT, built here once more.
    assert bundle.text_latents is not None
    state = {
        key: torch.from_numpy(recipe.tensor(key, tuple(tensor.shape), "float32"))
        for key, tensor in key_list(parity, "ctclip_full").items()
        if key.startswith(("text_transformer.", "to_text_latent.")) and "pooler" not in key
    }
    text_tower = full_size_network("text_tower", parity, "cpu").eval()
    text_tower.load_state_dict(state)
    tokens = load_tokenizer(parity.parent / "tokenizer" / "cxr-bert")(
        list(prompt_pair("Lung nodule")), padding=True, return_tensors="pt"
    )
    assert bundle.manifest.members.ctclip is not None
    row = bundle.manifest.members.ctclip.labels.index("Lung nodule")
    assert_close(bundle.text_latents[row], text_tower(tokens["input_ids"], tokens["attention_mask"]))


@pytest.mark.parametrize("name", ["supervised", "classfine"])
@torch.no_grad()
def test_trained_heads(recipe: ModuleType, imported: Import, expected: dict[str, Tensor], name: str) -> None:
    bundle = imported(supervised=name)
    video = torch.from_numpy(recipe.volume())[None, None]
    assert bundle.supervised is not None
    assert_close(bundle.supervised(bundle.towers["main"](video)), expected[f"{name}_logits"])


@torch.no_grad()
def test_slice_networks(recipe: ModuleType, imported: Import, expected: dict[str, Tensor]) -> None:
    folder = imported(slice_classifier="diffusion_classifier", unet="diffusion_unet").folder
    bundle = load_bundle(folder, every_network=True)
    assert bundle.slice_classifier is not None
    assert bundle.unet is not None
    slices = torch.from_numpy(recipe.slices())
    assert_close(bundle.slice_classifier(slices, torch.zeros(2)), expected["slice_classifier_logits"])
    out = bundle.unet(slices[:1], torch.tensor([199]), torch.tensor([0]))
    assert_close(out[:, :, ::4, ::4], expected["unet_out_16th"])
