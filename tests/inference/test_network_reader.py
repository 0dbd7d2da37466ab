from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from inference.network_reader import NetworkReader
from inference.preparation import PreparedStudy, prepare_nifti
from inference.stages import Stages
from models.bundle import load_bundle
from tests.inference.conftest import manifest

OTHER = "meta"
"""A device that is not the CPU: torch takes tensors there without computing anything."""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> PreparedStudy:
    values = np.random.default_rng(0).integers(-1000, 400, (40, 40, 60)).astype(np.int16)
    file = tmp_path_factory.mktemp("nifti") / "v.nii"
    nibabel.save(nibabel.Nifti1Image(values, np.diag([-2.0, -2.0, 3.0, 1.0])), file)
    return prepare_nifti(file, "v", manifest().input, stages=Stages())


def fresh(study: PreparedStudy) -> PreparedStudy:
    return replace(study, stages=Stages())


def full_device(folder: Path, *, cpu_fallback: bool) -> tuple[NetworkReader, list[int]]:
    """A reader on another device, whose memory is full, and the passes that were begun there."""
    bundle, begun = load_bundle(folder), []

    def out_of_memory(*_: object) -> None:
        begun.append(1)
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    bundle.towers["main"].register_forward_pre_hook(out_of_memory)
    return NetworkReader(bundle, device=OTHER, precision="float32", cpu_fallback=cpu_fallback), begun


def test_a_study_that_a_gpu_has_no_memory_for_is_read_on_the_cpu(
    bundle_folder: Path, study: PreparedStudy, caplog: pytest.LogCaptureFixture
) -> None:
    on_cpu = NetworkReader(load_bundle(bundle_folder), device="cpu", precision="float32", cpu_fallback=True)
    expected = on_cpu.read(fresh(study))
    reader, begun = full_device(bundle_folder, cpu_fallback=True)
    with caplog.at_level(logging.WARNING):
        answer = reader.read(fresh(study))
    assert len(begun) == 2  # once more after the other networks had left the device
    assert answer.reading.scores == expected.reading.scores
    assert {name: item.peak() for name, item in answer.saliency.items()} == {
        name: item.peak() for name, item in expected.saliency.items()
    }
    offloaded, read_on_cpu = answer.reading.warnings
    assert "main memory" in offloaded
    assert "read on the CPU in float32" in read_on_cpu
    assert (answer.runtime.device, answer.runtime.precision) == ("cpu", "float32")
    assert reader.runtime.device == OTHER
    assert [record.message for record in caplog.records] == [
        "memory ran out",
        "memory ran out: this study goes to the CPU",
    ]
    # The next study tries the device first, in what was stepped down to.
    assert reader.read(fresh(study)).reading.warnings == (read_on_cpu,)
    assert len(begun) == 3


def test_without_leave_to_use_the_cpu_the_error_goes_up(bundle_folder: Path, study: PreparedStudy) -> None:
    reader, _ = full_device(bundle_folder, cpu_fallback=False)
    with pytest.raises(torch.OutOfMemoryError):
        reader.read(fresh(study))


def test_a_cpu_that_is_full_has_no_other_place(bundle_folder: Path, study: PreparedStudy) -> None:
    bundle = load_bundle(bundle_folder)
    passes: list[int] = []

    def out_of_memory(*_: object) -> None:
        passes.append(1)
        raise MemoryError

    bundle.towers["main"].register_forward_pre_hook(out_of_memory)
    reader = NetworkReader(bundle, device="cpu", precision="float32", cpu_fallback=True)
    with pytest.raises(MemoryError):
        reader.read(fresh(study))
    assert passes == [1]


def test_memory_is_measured_when_asked_for_and_only_then(bundle_folder: Path, study: PreparedStudy) -> None:
    reader = NetworkReader(load_bundle(bundle_folder), device="cpu", precision="float32", cpu_fallback=True)
    reader.read(fresh(study))
    assert reader.memory == ()
    reader.read(fresh(study), measure=True)
    assert [item.member for item in reader.memory] == ["ctclip", "supervised", "diffusion"]
    assert all(item.peak_bytes > 10 << 20 and item.seconds > 0 for item in reader.memory)


def test_warming_up_runs_every_network_once_unless_a_study_did(
    bundle_folder: Path, study: PreparedStudy
) -> None:
    bundle = load_bundle(bundle_folder)
    passes: list[str] = []
    bundle.towers["main"].register_forward_hook(lambda *_: passes.append("tower"))
    reader = NetworkReader(bundle, device="cpu", precision="float32", cpu_fallback=True)
    memory = reader.warm_up()
    assert passes == ["tower"]
    assert [item.member for item in memory] == ["ctclip", "supervised", "diffusion"]
    assert reader.warm_up() is memory
    assert passes == ["tower"]
    measured = NetworkReader(bundle, device="cpu", precision="float32", cpu_fallback=True)
    measured.read(fresh(study), measure=True)
    passes.clear()
    assert measured.warm_up() == measured.memory
    assert passes == []
