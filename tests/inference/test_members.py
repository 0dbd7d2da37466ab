from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from inference.encoder_input import slice_images, slice_planes
from inference.members import Ensemble, Reading
from inference.slice_member import SliceMember, slice_noise
from inference.stages import Stages
from models.bundle import load_bundle
from models.manifest import DiffusionSpec
from tests.inference.conftest import manifest, write_bundle

SHAPE = (24, 32, 48)
SOURCES = [f"1.2.{plane // 2}" for plane in range(SHAPE[0])]


def volume(seed: int = 0) -> torch.Tensor:
    return torch.rand(SHAPE, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.fixture(scope="module")
def ensemble(bundle_folder: Path) -> Ensemble:
    return Ensemble(load_bundle(bundle_folder))


def test_every_member_gives_its_named_scores(ensemble: Ensemble) -> None:
    reading = ensemble.read(volume(), SOURCES)
    assert set(reading.scores) == set(ensemble.members) == {"ctclip", "supervised", "diffusion"}
    for member in ensemble.members:
        assert set(reading.scores[member]) == set(ensemble.score_names(member))
    bundle = ensemble.bundle
    with torch.no_grad():
        tokens = bundle.towers["main"](volume()[None, None])
        assert bundle.ctclip is not None
        assert bundle.supervised is not None
        expected = bundle.ctclip(tokens, bundle.text_latents)[0]
        assert list(reading.scores["ctclip"].values()) == pytest.approx(expected.tolist(), abs=1e-6)
        assert list(reading.scores["supervised"].values()) == pytest.approx(
            bundle.supervised(tokens).sigmoid()[0].tolist(), abs=1e-6
        )


def test_a_shared_encoder_runs_once(ensemble: Ensemble) -> None:
    passes: list[int] = []
    hook = ensemble.bundle.towers["main"].register_forward_hook(lambda *_: passes.append(1))
    stages = Stages()
    ensemble.read(volume(), SOURCES, stages)
    hook.remove()
    assert passes == [1]
    assert list(stages.seconds) == ["ctclip", "supervised", "diffusion"]


def test_the_classifier_looks_at_the_planes_of_the_original(ensemble: Ensemble) -> None:
    reading = ensemble.read(volume(), SOURCES)
    assert list(reading.slice_probabilities) == list(slice_planes(SHAPE[0])) == list(range(1, 22))
    values = torch.tensor(list(reading.slice_probabilities.values()), dtype=torch.float64)
    features = reading.scores["diffusion"]
    assert features["classifier_mean_probability"] == pytest.approx(values.mean().item())
    assert features["classifier_std_probability"] == pytest.approx(values.std(correction=0).item())


def test_the_anomaly_maps_explain_their_scores(ensemble: Ensemble) -> None:
    anomaly = ensemble.read(volume(), SOURCES).anomaly
    assert anomaly is not None
    assert anomaly.planes == (1, 21)
    assert anomaly.maps.shape == (2, 16, 16)
    assert anomaly.maps.mean(axis=(1, 2)).tolist() == pytest.approx(anomaly.scores, rel=1e-5)


def test_the_same_study_gives_the_same_scores(ensemble: Ensemble) -> None:
    assert ensemble.read(volume(), SOURCES).scores == ensemble.read(volume(), SOURCES).scores
    assert ensemble.read(volume(), SOURCES).scores != ensemble.read(volume(1), SOURCES).scores


def test_noise_belongs_to_the_source_image() -> None:
    assert torch.equal(slice_noise("1.2.3", 16), slice_noise("1.2.3", 16))
    assert not torch.equal(slice_noise("1.2.3", 16), slice_noise("1.2.4", 16))
    noise = slice_noise("1.2.3", 128)
    assert abs(noise.mean().item()) < 0.05
    assert abs(noise.std().item() - 1) < 0.05


def test_reconstruction_that_is_off_gives_no_columns(tmp_path: Path) -> None:
    rule = manifest()
    diffusion = rule.members.diffusion
    assert isinstance(diffusion, DiffusionSpec)
    off = replace(rule.members, diffusion=replace(diffusion, reconstruction=None))
    columns = tuple(name for name in rule.fusion.columns if "reconstruction" not in name)  # type: ignore[union-attr]
    fusion = replace(rule.fusion, columns=columns)  # type: ignore[type-var]
    ensemble = Ensemble(
        load_bundle(write_bundle(tmp_path / "off", replace(rule, members=off, fusion=fusion)))
    )
    reading = ensemble.read(volume(), SOURCES)
    assert reading.anomaly is None
    assert all(name.startswith("classifier_") for name in reading.scores["diffusion"])
    assert not ensemble.reconstructs


def flat(reading: Reading) -> dict[str, float]:
    return {
        f"{member} {name}": value
        for member in reading.scores
        for name, value in reading.scores[member].items()
    }


@pytest.mark.parametrize("batch", [1, 3, 16])
def test_scores_do_not_depend_on_how_many_slices_are_computed_at_a_time(
    bundle_folder: Path, ensemble: Ensemble, batch: int
) -> None:
    expected = ensemble.read(volume(), SOURCES)
    other = Ensemble(load_bundle(bundle_folder))
    other.memory.slice_batch = batch
    reading = other.read(volume(), SOURCES)
    assert flat(reading) == pytest.approx(flat(expected), abs=1e-5)
    assert reading.slice_probabilities == pytest.approx(expected.slice_probabilities, abs=1e-5)


def test_a_slice_has_its_probability_in_whatever_company(ensemble: Ensemble) -> None:
    bundle = ensemble.bundle
    spec, classifier = bundle.manifest.members.diffusion, bundle.slice_classifier
    assert spec is not None
    assert classifier is not None
    member = SliceMember(spec, classifier, None, ensemble.memory)
    images = slice_images(volume(), spec.image_size)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        expected, mixed = member.probabilities(images), member.probabilities(images[order])
    assert len(expected.unique()) > 10
    torch.testing.assert_close(mixed, expected[order], atol=1e-5, rtol=0)


def test_too_little_memory_costs_time_and_no_scores(bundle_folder: Path, ensemble: Ensemble) -> None:
    expected = flat(ensemble.read(volume(), SOURCES))
    bundle = load_bundle(bundle_folder)
    sizes: list[int] = []

    def limit(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        sizes.append(len(inputs[0]))
        if sizes[-1] > 5:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    assert bundle.slice_classifier is not None
    bundle.slice_classifier.register_forward_pre_hook(limit)
    short = Ensemble(bundle)
    reading = short.read(volume(), SOURCES)
    assert flat(reading) == pytest.approx(expected, abs=1e-5)
    assert [sentence.count("at a time") for sentence in reading.warnings] == [1, 1]
    assert sizes[:3] == [16, 8, 4]
    sizes.clear()
    later = short.read(volume(), SOURCES)
    assert flat(later) == pytest.approx(expected, abs=1e-5)
    assert later.warnings == ()
    assert sizes[0] == 4


def test_saliency_and_guidance_work_while_networks_change_places(
    bundle_folder: Path, ensemble: Ensemble
) -> None:
    offloading = Ensemble(load_bundle(bundle_folder))
    offloading.memory.offloading = True
    reading = offloading.read(volume(), SOURCES)
    assert flat(reading) == pytest.approx(flat(ensemble.read(volume(), SOURCES)), abs=1e-5)
    tokens = reading.tokens["main"].clone().requires_grad_()
    slope = torch.autograd.grad(offloading.logits("supervised")(tokens).sum(), tokens)[0]
    assert slope.abs().max() > 0


def test_an_encoder_without_memory_on_the_cpu_raises(bundle_folder: Path) -> None:
    bundle = load_bundle(bundle_folder)

    def full(*_: object) -> None:
        raise MemoryError

    bundle.towers["main"].register_forward_pre_hook(full)
    with pytest.raises(MemoryError):
        Ensemble(bundle).read(volume(), SOURCES)
