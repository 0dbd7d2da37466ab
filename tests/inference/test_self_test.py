"""A bundle that is computed rightly passes its own test; one that is not, or gives no numbers, never does."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from inference.analyse import Analyser
from inference.score_tolerance import TOLERANCES
from inference.self_test import (
    EXPECTED,
    NO_SELF_TEST,
    STUDY,
    SelfTestError,
    record_self_test,
    run_self_test,
)
from models.bundle import BundleCode, BundleError, load_bundle
from models.manifest import FallbackSpec
from models.manifest_file import read_manifest, write_manifest
from models.precision import PRECISIONS
from tests.inference.conftest import manifest, write_bundle

VOLUME = "volume.nii.gz"


def write_volume(path: Path, seed: int = 5) -> Path:
    values = np.random.default_rng(seed).integers(-1000, 400, (40, 40, 30)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([3.0, 3.0, 4.0, 1.0])), path)
    return path


@pytest.fixture(scope="module")
def recorded(bundle_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recorded") / "bundle"
    shutil.copytree(bundle_folder, folder)
    record_self_test(folder, write_volume(folder.parent / VOLUME), ("float32", "bf16"))
    return folder


@pytest.fixture
def bundle(recorded: Path, tmp_path: Path) -> Path:
    """A copy with a self-test, to be changed."""
    return Path(shutil.copytree(recorded, tmp_path / "bundle"))


def change_expected(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Alter the expected scores and list the file anew, as somebody would who hides it."""
    expected = json.loads((folder / EXPECTED).read_text())
    change(expected)
    (folder / EXPECTED).write_text(json.dumps(expected))
    write_manifest(folder, read_manifest(folder))


def change_weights(folder: Path, value: float) -> None:
    tensors = load_file(folder / "supervised.safetensors")
    for name, tensor in tensors.items():
        if name.endswith("bias"):
            tensors[name] = torch.full_like(tensor, value)
    save_file(tensors, folder / "supervised.safetensors")
    write_manifest(folder, read_manifest(folder))


def test_record_says_all_scores_and_what_made_them(recorded: Path) -> None:
    expected = json.loads((recorded / EXPECTED).read_text())
    assert set(expected) == {"format", "software_version", "torch_version", "device_name", "precisions"}
    assert expected["torch_version"] == torch.__version__
    assert set(expected["precisions"]) == {"float32", "bf16"}
    result = Analyser(recorded).analyse_nifti(recorded / VOLUME, name="self_test")
    assert expected["precisions"]["float32"] == {
        "study_probability": result.probability,
        "member_scores": result.member_scores,
    }
    listed = load_bundle(recorded).manifest
    assert {VOLUME, EXPECTED} <= set(listed.files)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_bundle_passes_its_own_test_in_every_precision(recorded: Path, precision: Any) -> None:
    report = run_self_test(Analyser(recorded, precision=precision), recorded)
    assert (report.precision, report.recorded) == (
        precision,
        "float32" if precision == "fp16" else precision,
    )
    assert len(report.checks) == 11
    assert report.worst is not None
    assert report.worst.share <= 1
    assert report.warnings == ()
    for check in report.checks:
        if check.kind != "reconstruction":
            assert check.tolerance == TOLERANCES[check.kind][precision]


def test_altered_expected_score_is_named_with_both_values_and_the_tolerance(bundle: Path) -> None:
    scores = json.loads((bundle / EXPECTED).read_text())["precisions"]["float32"]["member_scores"]
    right = scores["supervised"]["Emphysema"]

    def alter(expected: dict[str, Any]) -> None:
        expected["precisions"]["float32"]["member_scores"]["supervised"]["Emphysema"] = right + 0.002

    change_expected(bundle, alter)
    with pytest.raises(SelfTestError) as raised:
        run_self_test(Analyser(bundle), bundle)
    words = f"supervised Emphysema: expected {right + 0.002:.6g}, got {right:.6g}, allowed deviation 0.001"
    assert words in raised.value.message
    assert str(raised.value).startswith("self_test_failed: in float32 ")
    assert raised.value.code.value == "self_test_failed"
    # The same in bf16 is within what bf16 may do.
    assert run_self_test(Analyser(bundle, precision="bf16"), bundle).recorded == "bf16"


def test_study_probability_is_compared_too(bundle: Path) -> None:
    def alter(expected: dict[str, Any]) -> None:
        expected["precisions"]["float32"]["study_probability"] += 0.05

    change_expected(bundle, alter)
    with pytest.raises(SelfTestError, match=f"1 of 11 differ.*{STUDY}: expected"):
        run_self_test(Analyser(bundle), bundle)


def test_reconstruction_is_compared_by_a_share_of_its_largest_score(bundle: Path) -> None:
    def alter(expected: dict[str, Any]) -> None:
        features = expected["precisions"]["float32"]["member_scores"]["diffusion"]
        features["reconstruction_std"] += 0.02 * features["reconstruction_max"]

    change_expected(bundle, alter)
    with pytest.raises(SelfTestError, match="diffusion reconstruction_std: expected"):
        run_self_test(Analyser(bundle), bundle)


def test_other_weights_under_the_old_expectations_do_not_pass(bundle: Path) -> None:
    change_weights(bundle, 1.0)
    with pytest.raises(SelfTestError, match="does not reproduce"):
        run_self_test(Analyser(bundle), bundle)


@pytest.mark.parametrize("fused", [True, False])
def test_nan_never_passes(bundle: Path, fused: bool) -> None:
    if not fused:
        fallback = FallbackSpec("highest_finding", 0.5)
        write_manifest(bundle, replace(read_manifest(bundle), fusion=None, fallback=fallback))
    change_weights(bundle, math.nan)
    with pytest.raises(SelfTestError):
        run_self_test(Analyser(bundle), bundle)
    with pytest.raises(SelfTestError):
        record_self_test(bundle, bundle / VOLUME, ("float32",))


def test_infinite_expectation_never_passes(bundle: Path) -> None:
    def alter(expected: dict[str, Any]) -> None:
        expected["precisions"]["float32"]["member_scores"]["ctclip"]["Emphysema"] = math.inf

    change_expected(bundle, alter)
    with pytest.raises(SelfTestError, match="ctclip Emphysema: expected inf"):
        run_self_test(Analyser(bundle), bundle)


def test_scores_that_only_one_side_has_are_named(bundle: Path) -> None:
    change_expected(
        bundle, lambda item: item["precisions"]["float32"]["member_scores"]["ctclip"].pop("Emphysema")
    )
    with pytest.raises(SelfTestError, match="not the same scores: ctclip Emphysema"):
        run_self_test(Analyser(bundle), bundle)
    change_expected(bundle, lambda item: item["precisions"].pop("float32"))
    with pytest.raises(SelfTestError, match="no scores for fp16 or float32"):
        run_self_test(Analyser(bundle, precision="fp16"), bundle)
    change_expected(bundle, lambda item: item.pop("precisions"))
    with pytest.raises(SelfTestError, match="not a record"):
        run_self_test(Analyser(bundle), bundle)


def test_volume_that_cannot_be_read_does_not_pass(bundle: Path, tmp_path: Path) -> None:
    no_volume = tmp_path / VOLUME
    no_volume.write_bytes(b"nothing")
    with pytest.raises(SelfTestError, match="not_a_nifti"):
        record_self_test(bundle, no_volume)


def test_bundle_without_a_self_test_is_usable_with_a_warning(bundle_folder: Path) -> None:
    report = run_self_test(Analyser(bundle_folder), bundle_folder)
    assert (report.checks, report.worst, report.warnings) == ((), None, (NO_SELF_TEST,))


def test_recording_again_leaves_nothing_of_the_old_volume(bundle: Path, tmp_path: Path) -> None:
    written = record_self_test(bundle, write_volume(tmp_path / "other.nii.gz", seed=6), ("float32",))
    assert written == read_manifest(bundle)
    assert not (bundle / VOLUME).exists()
    assert run_self_test(Analyser(bundle), bundle).checks


def test_recording_does_not_bless_a_changed_file(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "bundle", manifest())
    (folder / "fusion.txt").write_text("changed")
    with pytest.raises(BundleError) as raised:
        record_self_test(folder, write_volume(tmp_path / VOLUME))
    assert raised.value.code == BundleCode.CHANGED_FILE
