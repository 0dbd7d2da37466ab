"""Bundles: what was saved answers the same, and nothing that was touched is loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from models.bundle import BundleCode, BundleError, load_bundle
from models.manifest_file import read_manifest, write_manifest
from models.supervised import ClassFineHead
from tests.models.reference import assert_close
from tests.models.small_bundle import DIM_IMAGE, DIM_LATENT, LABELS, manifest, text_latents, write_bundle

Written = tuple[Path, dict[str, nn.Module]]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    return tmp_path, write_bundle(tmp_path)


def refusal(folder: Path) -> BundleError:
    with pytest.raises(BundleError) as refused:
        load_bundle(folder)
    return refused.value


def rewrite(folder: Path, file: str, change: Callable[[dict[str, Tensor]], object]) -> None:
    """Change a file of weights and describe it anew, as someone who makes a bundle would."""
    state = load_file(folder / file)
    change(state)
    save_file(state, folder / file)
    write_manifest(folder, manifest())


@torch.no_grad()
def test_a_loaded_bundle_answers_as_the_networks_that_were_saved(written: Written) -> None:
    folder, made = written
    bundle = load_bundle(folder)
    video, slices, t = torch.randn(1, 1, 24, 32, 48), torch.randn(2, 1, 16, 16), torch.tensor([0, 7])
    tokens = bundle.towers["main"](video)
    assert_close(tokens, made["tower.safetensors"](video))
    assert bundle.ctclip is not None
    assert bundle.supervised is not None
    assert bundle.slice_classifier is not None
    assert bundle.unet is not None
    assert bundle.text_latents is not None
    assert torch.equal(bundle.text_latents, text_latents())
    probabilities = bundle.ctclip(tokens, bundle.text_latents)
    assert_close(probabilities, made["ctclip.safetensors"](tokens, text_latents()))
    assert_close(bundle.supervised(tokens), made["supervised.safetensors"](tokens))
    assert_close(bundle.slice_classifier(slices, t), made["classifier.safetensors"](slices, t))
    assert_close(bundle.unet(slices, t, t * 0), made["unet.safetensors"](slices, t, t * 0))
    assert bundle.fusion_path == folder / "fusion.txt"


def test_networks_are_in_eval_mode_and_frozen(written: Written) -> None:
    bundle = load_bundle(written[0])
    for network in (
        bundle.towers["main"],
        bundle.ctclip,
        bundle.supervised,
        bundle.slice_classifier,
        bundle.unet,
    ):
        assert network is not None
        assert not network.training
        assert not any(parameter.requires_grad for parameter in network.parameters())


def test_the_digest_is_that_of_the_manifest_and_so_of_every_file(written: Written) -> None:
    folder, _ = written
    before = load_bundle(folder)
    assert before.digest == hashlib.sha256((folder / "bundle.toml").read_bytes()).hexdigest()
    assert before.manifest == read_manifest(folder)
    (folder / "fusion.txt").write_text("tree 2\n")
    write_manifest(folder, manifest())
    assert load_bundle(folder).digest != before.digest


def test_weights_stored_in_half_precision_are_used_in_single(written: Written) -> None:
    folder, made = written
    rewrite(folder, "unet.safetensors", lambda state: state.update({k: v.half() for k, v in state.items()}))
    unet = load_bundle(folder).unet
    assert unet is not None
    stored = made["unet.safetensors"].state_dict()
    assert all(torch.equal(value, stored[key].half().float()) for key, value in unet.state_dict().items())


@pytest.mark.parametrize("file", ["tower.safetensors", "supervised.safetensors", "fusion.txt"])
def test_a_changed_byte_is_refused(written: Written, file: str) -> None:
    path = written[0] / file
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    refused = refusal(written[0])
    assert refused.code is BundleCode.CHANGED_FILE
    assert file in refused.message


def test_a_file_cut_short_is_refused(written: Written) -> None:
    path = written[0] / "unet.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    assert refusal(written[0]).code is BundleCode.CHANGED_FILE


def test_a_missing_file_is_refused_by_name(written: Written) -> None:
    (written[0] / "classifier.safetensors").unlink()
    refused = refusal(written[0])
    assert refused.code is BundleCode.MISSING_FILE
    assert "classifier.safetensors" in refused.message


@pytest.mark.parametrize(
    ("file", "key"),
    [
        ("tower.safetensors", "vq._codebook.embed"),
        ("tower.safetensors", "enc_spatial_transformer.layers.0.1.q_scale"),
        ("ctclip.safetensors", "temperature"),
        ("ctclip.safetensors", "text_latents"),
        ("supervised.safetensors", "pre_head_norm.bias"),
        ("classifier.safetensors", "out.2.positional_embedding"),
        ("unet.safetensors", "label_emb.weight"),
    ],
)
def test_a_missing_tensor_is_refused_by_name(written: Written, file: str, key: str) -> None:
    rewrite(written[0], file, lambda state: state.pop(key))
    refused = refusal(written[0])
    assert refused.code is BundleCode.MISSING_TENSOR
    assert file in refused.message
    assert key in refused.message


def test_a_tensor_too_many_is_refused_by_name(written: Written) -> None:
    rewrite(written[0], "tower.safetensors", lambda state: state.update(null_kv=torch.zeros(1)))
    refused = refusal(written[0])
    assert refused.code is BundleCode.UNEXPECTED_TENSOR
    assert "null_kv" in refused.message


def test_text_latents_that_do_not_match_the_labels_are_refused(written: Written) -> None:
    rewrite(written[0], "ctclip.safetensors", lambda state: state.update(text_latents=torch.zeros(3, 2, 8)))
    assert refusal(written[0]).code is BundleCode.MISSING_TENSOR


def test_a_file_that_is_not_safetensors_is_refused(written: Written) -> None:
    (written[0] / "unet.safetensors").write_bytes(b"\x80\x04pickle")
    write_manifest(written[0], manifest())
    refused = refusal(written[0])
    assert refused.code is BundleCode.UNREADABLE_WEIGHTS
    assert "unet.safetensors" in refused.message


def test_the_classfine_head_serves_as_the_supervised_member(written: Written) -> None:
    folder, _ = written
    head = ClassFineHead(DIM_IMAGE, DIM_LATENT, len(LABELS))
    save_file(head.state_dict(), folder / "supervised.safetensors")
    members = manifest().members
    assert members.supervised is not None
    members = replace(members, supervised=replace(members.supervised, head="classfine"))
    write_manifest(folder, replace(manifest(), members=members))
    loaded = load_bundle(folder).supervised
    assert isinstance(loaded, ClassFineHead)
    assert torch.equal(loaded.classifier.bias, head.classifier.bias)
