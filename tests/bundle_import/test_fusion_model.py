"""The fusion model: read safely, its columns under our names, nothing filled in silence."""

from __future__ import annotations

import json
from pathlib import Path

import lightgbm
import numpy as np
import pytest

from bundle_import.errors import ImportCode, ImportRefused
from bundle_import.findings import given_columns
from bundle_import.fusion_model import ConstantRule, constant_columns, fusion_columns, read_fusion
from bundle_import.prompt_lists import ORIGINAL_55, SUPERVISED_15, shipped_lists
from models.manifest import DiffusionSpec, ReconstructionSpec

ABSENT = [f"{name}_{value}" for name in ("kolyan", "okhr") for value in ("mean", "max", "top3_mean")]


def quiet(_: str) -> None:
    pass


@pytest.fixture
def given() -> tuple[str, ...]:
    lists = shipped_lists()
    diffusion = DiffusionSpec(256, None, None, ReconstructionSpec(enabled=True, slices=16, steps=50))  # type: ignore[arg-type]
    return given_columns(lists[ORIGINAL_55], lists[SUPERVISED_15], diffusion)


@pytest.mark.parametrize("file", ["lightgbm_random.txt", "lightgbm_random.pkl"])
def test_the_reference_with_all_names_mapped(
    parity: Path, tmp_path: Path, given: tuple[str, ...], file: str
) -> None:
    expected = json.loads((parity / "features" / "expected.json").read_text())
    model = read_fusion(parity / "features" / file, trust_pickle=True, say=quiet)
    columns = fusion_columns(model.booster.feature_name(), given)
    assert list(columns) == expected["all"]["columns"]
    assert [name for name in columns if name not in given] == ABSENT
    (tmp_path / "fusion.txt").write_text(model.text())
    written = lightgbm.Booster(model_file=str(tmp_path / "fusion.txt"))
    answer = written.predict(np.array([expected["all"]["values"]]), num_threads=1)
    assert float(np.asarray(answer)[0]) == pytest.approx(0.5527407259637231, abs=1e-12)


def test_a_pickle_is_read_only_on_trust(parity: Path) -> None:
    path = parity / "features" / "lightgbm_random.pkl"
    with pytest.raises(ImportRefused, match="--trust-pickle") as refused:
        read_fusion(path, trust_pickle=False, say=quiet)
    assert refused.value.code is ImportCode.NEEDS_PICKLE
    said: list[str] = []
    assert read_fusion(path, trust_pickle=True, say=said.append).layout == "lightgbm_pickle"
    assert said[0].startswith("WARNING")


def test_what_is_no_model_of_one_probability_is_refused(parity: Path, tmp_path: Path) -> None:
    path = tmp_path / "fusion"
    path.write_text("tree\nversion=v4\n")
    with pytest.raises(ImportRefused) as refused:
        read_fusion(path, trust_pickle=False, say=quiet)
    assert refused.value.code is ImportCode.NOT_A_FUSION_MODEL
    path.write_bytes(b"\x80\x04nothing")
    with pytest.raises(ImportRefused) as refused:
        read_fusion(path, trust_pickle=True, say=quiet)
    assert refused.value.code is ImportCode.NOT_A_FUSION_MODEL
    text = (parity / "features" / "lightgbm_random.txt").read_text()
    path.write_text(text.replace("objective=binary sigmoid:1", "objective=regression"))
    with pytest.raises(ImportRefused, match="regression"):
        read_fusion(path, trust_pickle=False, say=quiet)


def test_columns_that_no_member_gives_are_refused_by_name_unless_declared(given: tuple[str, ...]) -> None:
    columns = (given[0], *ABSENT)
    with pytest.raises(ImportRefused) as refused:
        constant_columns(columns, given, [ConstantRule("kolyan_*", 0.0, "not here")])
    assert refused.value.code is ImportCode.FUSION_COLUMNS
    assert all(name in refused.value.message for name in ABSENT if name.startswith("okhr"))
    assert "kolyan" not in refused.value.message
    rules = [ConstantRule.parse("kolyan_*=0:not here"), ConstantRule.parse("okhr_*=0.25:nor this")]
    declared = constant_columns(columns, given, rules)
    assert set(declared) == set(ABSENT)
    assert (declared["okhr_max"].value, declared["okhr_max"].reason) == (0.25, "nor this")


def test_a_column_that_a_member_gives_is_not_held(given: tuple[str, ...]) -> None:
    with pytest.raises(ImportRefused) as refused:
        constant_columns(given, given, [ConstantRule(given[0], 0.0, "why not")])
    assert refused.value.code is ImportCode.BAD_OPTION


@pytest.mark.parametrize("words", ["kolyan", "kolyan=0", "kolyan=0:", "kolyan=0: ", "kolyan=none:x", "=0:x"])
def test_a_constant_has_a_name_a_value_and_a_reason(words: str) -> None:
    with pytest.raises(ImportRefused) as refused:
        ConstantRule.parse(words)
    assert refused.value.code is ImportCode.BAD_OPTION


def test_names_that_cannot_be_told_apart_are_refused() -> None:
    with pytest.raises(ImportRefused):
        fusion_columns(["ctclip_a_b"], ["ctclip_a b", "ctclip_a_b"])
    with pytest.raises(ImportRefused):
        fusion_columns(["ctclip_a_b", "ctclip_a-b"], ["ctclip_a b"])
