"""Whole imports of small checkpoints: the bundle answers as the reference, or there is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from bundle_import import assemble
from bundle_import.assemble import import_bundle
from bundle_import.errors import ImportCode, ImportRefused
from bundle_import.fusion_model import ConstantRule
from bundle_import.request import ImportRequest
from inference.analyse import Analyser
from inference.self_test import run_self_test
from models.bundle import Bundle, load_bundle
from models.supervised import ClassFineHead
from tests.bundle_import.small_checkpoints import (
    CLASSES,
    PROMPTS,
    SmallCheckpoints,
    classfine_state,
    ctclip_state,
)
from tests.models.reference import assert_close, small_ctclip, small_tower, tensors


def run(request: ImportRequest) -> tuple[Bundle, list[str]]:
    said: list[str] = []
    import_bundle(request, said.append)
    return load_bundle(request.target, every_network=True), said


def refusal(request: ImportRequest) -> ImportRefused:
    with pytest.raises(ImportRefused) as refused:
        import_bundle(request, lambda _: None)
    return refused.value


@torch.no_grad()
def test_an_imported_bundle_answers_as_the_reference(parity: Path, small: SmallCheckpoints) -> None:
    request = small.request(
        ctclip=small.ctclip(),
        supervised=small.supervised(),
        slice_classifier=small.slice_classifier(),
        unet=small.unet(),
    )
    bundle, _ = run(request)
    assert small.left_behind() == ["small"]

    # Equal image encoders are one, stored and run once; equal projections lie in one place.
    assert list(bundle.towers) == ["main"]
    expected = tensors(parity, "ctclip_small/io")
    assert bundle.ctclip is not None
    assert bundle.text_latents is not None
    assert_close(bundle.text_latents, expected["text_latents"])
    tokens = bundle.towers["main"](expected["image"])
    assert_close(bundle.ctclip(tokens, bundle.text_latents)[0, :, None], expected["prob_present"])

    expected = tensors(parity, "supervised_small/io")
    assert bundle.supervised is not None
    probabilities = bundle.supervised(bundle.towers["main"](expected["images"])).sigmoid()
    assert_close(probabilities, expected["probs"])
    assert (
        bundle.supervised.to_visual_latent.weight.data_ptr()
        == bundle.ctclip.to_visual_latent.weight.data_ptr()
    )
    projection = 4 * 512 * 576
    assert (request.target / "ctclip.safetensors").stat().st_size > projection
    assert (request.target / "supervised.safetensors").stat().st_size < projection / 10

    expected = tensors(parity, "diffusion_classifier_small/io")
    assert bundle.slice_classifier is not None
    assert_close(bundle.slice_classifier(expected["x"], expected["t"]), expected["logits"])
    expected = tensors(parity, "diffusion_unet_small/io")
    assert bundle.unet is not None
    assert_close(bundle.unet(expected["x"], expected["t"], expected["y"]), expected["out"])


def test_the_manifest_says_where_everything_came_from(small: SmallCheckpoints) -> None:
    request = small.request(
        ctclip=small.ctclip(), supervised=small.supervised(), slice_classifier=small.slice_classifier()
    )
    bundle, _ = run(request)
    manifest = bundle.manifest
    layouts = {name: source.layout for name, source in manifest.sources.items()}
    assert layouts == {
        "ctclip": "ctclip",
        "tokenizer": "vocab.txt",
        "supervised": "supervised",
        "slice_classifier": "slice_classifier",
    }
    assert manifest.sources["ctclip"].bytes == (small.folder / "CT-CLIP_v2.pt").stat().st_size
    assert "CC-BY-NC-SA" in manifest.licence
    assert not manifest.demonstration
    assert manifest.members.diffusion is not None
    assert manifest.members.diffusion.reconstruction is None
    both = {finding.name: finding for finding in manifest.findings}["Pleural effusion"]
    assert both.columns == ("ctclip_Pleural effusion", "supervised_pleural_effusion")
    assert "pleural_effusion" not in {finding.name for finding in manifest.findings}
    assert manifest.fallback is not None
    card = (request.target / "README.md").read_text()
    assert all(source.sha256 in card for source in manifest.sources.values())
    assert all("text_transformer" not in file.read_bytes().decode("latin-1")
               for file in request.target.glob("*.safetensors"))  # fmt: skip


def test_the_self_test_is_recorded_and_passes(small: SmallCheckpoints) -> None:
    request = small.request(supervised=small.supervised())
    run(request)
    recorded = json.loads((request.target / "self_test.json").read_text())
    assert set(recorded["precisions"]) == {"float32", "bf16"}
    report = run_self_test(Analyser(request.target, threads=1), request.target)
    assert report.worst is not None
    assert report.worst.share <= 1


@torch.no_grad()
def test_classfine_is_the_supervised_member(parity: Path, small: SmallCheckpoints) -> None:
    bundle, _ = run(small.request(supervised=small.classfine()))
    assert isinstance(bundle.supervised, ClassFineHead)
    assert bundle.manifest.members.supervised is not None
    assert bundle.manifest.members.supervised.labels[:2] == (
        "Medical material",
        "Arterial wall calcification",
    )
    image = tensors(parity, "ctclip_small/io")["image"]
    latent = small_ctclip(parity).image_latents(small_tower(parity)(image)).relu()
    state = classfine_state(parity)
    expected = latent @ state["classifier.weight"].T + state["classifier.bias"]
    assert_close(bundle.supervised(bundle.towers["main"](image)), expected)
    assert len(bundle.manifest.findings) == CLASSES


def test_image_encoders_that_differ_are_two(parity: Path, small: SmallCheckpoints) -> None:
    other = classfine_state(parity)
    key = "trained_model.visual_transformer.enc_temporal_transformer.layers.1.3.4.weight"
    other[key] = other[key] + 1e-3
    request = small.request(ctclip=small.ctclip(), supervised=small.save("other.pt", other))
    bundle, _ = run(request)
    assert set(bundle.towers) == {"main", "supervised"}
    # What is equal in both is still stored once.
    sizes = [
        (request.target / name).stat().st_size
        for name in ("tower.safetensors", "tower_supervised.safetensors")
    ]
    assert sizes[1] < sizes[0] / 4
    weights = [dict(tower.named_parameters())["enc_temporal_transformer.layers.1.3.4.weight"]
               for tower in bundle.towers.values()]  # fmt: skip
    assert not torch.equal(*weights)


def test_the_first_generation_is_read_and_its_training_keys_are_reported(
    parity: Path, small: SmallCheckpoints
) -> None:
    state = ctclip_state(parity) | {
        "text_transformer.embeddings.position_ids": torch.arange(64)[None],
        **{f"visual_transformer.discr.blocks.{n}.net.0.weight": torch.zeros(3) for n in range(30)},
        "visual_transformer.vgg.features.0.weight": torch.zeros(3),
    }
    _, said = run(small.request(ctclip=small.save("first.pt", state)))
    assert "first.pt: 31 unexpected keys, dropped:" in said
    assert "  visual_transformer.discr.blocks.0.net.0.weight" in said
    assert "  ... and 11 more" in said
    assert not any("position_ids" in line for line in said)


def test_every_missing_tensor_is_named_as_in_the_checkpoint(parity: Path, small: SmallCheckpoints) -> None:
    state = ctclip_state(parity)
    lost = (
        "temperature",
        "visual_transformer.to_patch_emb.2.weight",
        "visual_transformer.enc_spatial_transformer.layers.1.1.to_kv.weight",
        "text_transformer.encoder.layer.0.output.dense.bias",
    )
    refused = refusal(
        small.request(ctclip=small.save("lacks.pt", {k: v for k, v in state.items() if k not in lost}))
    )
    assert refused.code is ImportCode.MISSING_TENSORS
    assert all(key in refused.message for key in lost)
    assert small.left_behind() == []


@pytest.mark.parametrize("wrong", ["model.", "ct_clip."])
def test_a_wrong_prefix_is_refused_with_the_missing_keys(
    parity: Path, small: SmallCheckpoints, wrong: str
) -> None:
    state = ctclip_state(parity)
    path = small.save("wrong.pt", {f"{wrong}{key}": value for key, value in state.items()})
    refused = refusal(small.request(ctclip=path))
    if wrong == "ct_clip.":  # so far that is a supervised checkpoint without its head
        assert refused.code is ImportCode.WRONG_LAYOUT
        refused = refusal(small.request(supervised=path))
        assert "pre_head_norm.weight" in refused.message
        assert "classifier.1.bias" in refused.message
    else:
        assert "'model.'" in refused.message
        unused = (
            "extra",
            "pooler",
            "first_frame",
            "to_pixels",
            "context_norm",
            "null_kv",
            "initted",
            "cluster_size",
        )
        needed = [key for key in state if not any(word in key for word in unused)]
        assert all(key in refused.message for key in needed)
    assert refused.code is ImportCode.MISSING_TENSORS
    assert small.left_behind() == []


def test_a_supervised_checkpoint_without_its_prefix_names_what_is_missing(
    parity: Path, small: SmallCheckpoints
) -> None:
    state = ctclip_state(parity) | tensors(parity, "supervised_small/weights_head")
    refused = refusal(small.request(supervised=small.save("wrong.pt", state)))
    assert refused.code is ImportCode.MISSING_TENSORS
    assert "ct_clip.to_visual_latent.weight" in refused.message
    assert "ct_clip.visual_transformer.vq._codebook.embed" in refused.message


def test_a_checkpoint_of_another_layout_is_refused_by_name(small: SmallCheckpoints) -> None:
    refused = refusal(small.request(ctclip=small.classfine()))
    assert refused.code is ImportCode.WRONG_LAYOUT
    assert "classfine" in refused.message
    assert refusal(small.request(supervised=small.ctclip())).code is ImportCode.WRONG_LAYOUT
    refused = refusal(small.request(slice_classifier=small.unet()))
    assert refused.code is ImportCode.WRONG_LAYOUT


def test_an_unknown_layout_tells_what_was_found_and_what_was_looked_for(small: SmallCheckpoints) -> None:
    refused = refusal(small.request(ctclip=small.save("resnet.pt", {"layer1.conv.weight": torch.zeros(3)})))
    assert refused.code is ImportCode.UNKNOWN_LAYOUT
    assert "layer1.conv.weight" in refused.message
    assert "to_visual_latent.weight" in refused.message


FUSION_CONSTANTS = (ConstantRule("kolyan_*", 0.0, "not here"), ConstantRule("okhr_*", 0.0, "not here"))


def test_the_published_fusion_is_refused_and_accepted_when_its_columns_are_declared(
    parity: Path, small: SmallCheckpoints
) -> None:
    members = {
        "ctclip": small.ctclip(),
        "supervised": small.supervised(),
        "slice_classifier": small.slice_classifier(),
        "fusion": parity / "features" / "lightgbm_random.txt",
        "tokenizer": small.tokenizer(),
        "prompts": "original_55",
    }
    refused = refusal(small.request(**members))
    assert refused.code is ImportCode.FUSION_COLUMNS
    for name in ("kolyan_mean", "okhr_top3_mean", "diffusion_reconstruction_std"):
        assert name in refused.message
    assert "ctclip_" not in refused.message
    assert small.left_behind() == []

    rules = (*FUSION_CONSTANTS, ConstantRule("diffusion_reconstruction_*", 0.0, "never computed"))
    bundle, said = run(small.request(**members, constants=rules, operating_point=0.59))
    fusion = bundle.manifest.fusion
    assert fusion is not None
    assert fusion.operating_point == 0.59
    assert len(fusion.constant_columns) == 9
    assert fusion.constant_columns["kolyan_max"].reason == "not here"
    assert any("kolyan_mean is held at 0" in sentence for sentence in said)
    assert bundle.manifest.fallback is None
    assert (
        list(fusion.columns)
        == json.loads((parity / "features" / "expected.json").read_text())["all"]["columns"]
    )


def test_a_crash_halfway_leaves_nothing(small: SmallCheckpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(assemble, "write_self_test_volume", crash)
    with pytest.raises(MemoryError):
        import_bundle(small.request(supervised=small.supervised()), lambda _: None)
    assert small.left_behind() == []


def test_a_bundle_is_replaced_only_on_request_and_only_by_a_whole_one(
    small: SmallCheckpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    supervised = small.supervised()
    first, _ = run(small.request(supervised=supervised))
    assert refusal(small.request(supervised=supervised)).code is ImportCode.NAME_TAKEN

    with monkeypatch.context() as patch:
        patch.setattr(assemble, "record_self_test", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            import_bundle(small.request(supervised=supervised, replace=True), lambda _: None)
    assert load_bundle(first.folder).digest == first.digest

    second, _ = run(small.request(supervised=supervised, replace=True, version="2"))
    assert second.manifest.version == "2"
    assert small.left_behind() == ["small"]


def test_weights_that_are_not_finite_are_refused_by_the_self_test(
    parity: Path, small: SmallCheckpoints
) -> None:
    state = classfine_state(parity)
    state["classifier.bias"] = torch.full((CLASSES,), float("nan"))
    refused = refusal(small.request(supervised=small.save("nan.pt", state)))
    assert refused.code is ImportCode.INVALID_BUNDLE
    assert small.left_behind() == []


def test_a_slice_classifier_alone_makes_a_bundle_whose_answer_is_that_of_its_worst_slice(
    small: SmallCheckpoints,
) -> None:
    request = small.request(
        slice_classifier=small.slice_classifier(), spacing_mm=(1.5, 0.75, 0.75), input_shape=None
    )
    bundle, _ = run(request)
    assert bundle.manifest.input.shape == (240, 480, 480)
    assert [finding.umbrella for finding in bundle.manifest.findings] == [True]


def test_prompts_of_the_reference_are_in_their_order(small: SmallCheckpoints) -> None:
    bundle, _ = run(small.request(ctclip=small.ctclip()))
    assert bundle.manifest.members.ctclip is not None
    assert bundle.manifest.members.ctclip.labels == PROMPTS
