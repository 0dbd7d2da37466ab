from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inference.columns import score_columns
from inference.fusion import Fusion, FusionCode, FusionError
from models.manifest import ConstantColumn, FusionSpec
from tests.inference.conftest import COLUMNS, write_fusion
from tests.inference.test_columns import reference, reference_scores

ABSENT = tuple(f"{network}_{name}" for network in ("kolyan", "okhr") for name in ("mean", "max", "top3_mean"))
CONSTANTS = {name: ConstantColumn(0.0, "the network is not part of the bundle") for name in ABSENT}


def spec(columns: tuple[str, ...], constants: dict[str, ConstantColumn] | None = None) -> FusionSpec:
    return FusionSpec("fusion.txt", 0.5, columns, constants or {})


def published(parity: Path) -> tuple[FusionSpec, dict[str, float]]:
    expected, labels = reference(parity)
    members = ("supervised", "ctclip", "diffusion_classifier", "diffusion_reconstruction")
    columns = score_columns(reference_scores(expected["inputs"], *members), labels["groups"])
    return spec(tuple(expected["all"]["columns"]), CONSTANTS), columns


def test_the_published_fusion_with_its_names_mapped(parity: Path) -> None:
    expected, _ = reference(parity)
    rule, columns = published(parity)
    fused = Fusion(parity / "features" / "lightgbm_random.txt", rule).fuse(columns)
    assert fused.probability == pytest.approx(expected["lightgbm_if_names_matched"]["probability"], abs=1e-9)
    assert [item.column for item in fused.contributions] == list(rule.columns)
    assert {item.column: item.value for item in fused.contributions}["ctclip_Rib fracture"] == pytest.approx(
        0.951, abs=1e-3
    )


def test_a_missing_column_is_an_error_that_names_it(parity: Path) -> None:
    rule, columns = published(parity)
    fusion = Fusion(parity / "features" / "lightgbm_random.txt", replace(rule, constant_columns={}))
    with pytest.raises(FusionError) as caught:
        fusion.fuse(columns)
    assert caught.value.code is FusionCode.MISSING_COLUMN
    assert all(name in caught.value.message for name in ABSENT)


def test_the_published_columns_are_refused_by_name_and_accepted_when_declared(parity: Path) -> None:
    """Where no reconstruction runs, nine of the 128 columns come from nowhere."""
    rule, columns = published(parity)
    reconstruction = {
        name: columns.pop(name) for name in rule.columns if name.startswith("diffusion_reconstruction_")
    }
    assert (len(rule.columns), len(ABSENT) + len(reconstruction)) == (128, 9)
    model = parity / "features" / "lightgbm_random.txt"
    with pytest.raises(FusionError) as caught:
        Fusion(model, replace(rule, constant_columns={})).check(columns)
    assert caught.value.code is FusionCode.MISSING_COLUMN
    assert all(name in caught.value.message for name in (*ABSENT, *reconstruction))
    assert "supervised_" not in caught.value.message
    declared = CONSTANTS | {name: ConstantColumn(value, "off") for name, value in reconstruction.items()}
    fusion = Fusion(model, replace(rule, constant_columns=declared))
    assert fusion.fuse(columns).probability == pytest.approx(0.5527407259637231, abs=1e-12)
    assert len(fusion.warnings) == 9
    assert all(any(name in warning for warning in fusion.warnings) for name in declared)


def test_a_declared_constant_is_used_and_told(tmp_path: Path) -> None:
    write_fusion(tmp_path / "fusion.txt", COLUMNS)
    values = dict.fromkeys(COLUMNS, 0.7)
    constant = {COLUMNS[0]: ConstantColumn(0.1, "never computed")}
    fusion = Fusion(tmp_path / "fusion.txt", spec(COLUMNS, constant))
    without = {name: value for name, value in values.items() if name != COLUMNS[0]}
    plain = Fusion(tmp_path / "fusion.txt", spec(COLUMNS))
    assert fusion.fuse(without).probability == plain.fuse({**values, COLUMNS[0]: 0.1}).probability
    assert fusion.warnings == (f"The fusion column {COLUMNS[0]} is held at 0.1: never computed",)
    assert fusion.fuse(values).probability == fusion.fuse(without).probability
    needless = {**constant, "kolyan_mean": ConstantColumn(0.0, "not a column of this model")}
    assert Fusion(tmp_path / "fusion.txt", spec(COLUMNS, needless)).warnings == fusion.warnings


def test_the_order_of_the_bundle_must_be_that_of_the_model(tmp_path: Path) -> None:
    write_fusion(tmp_path / "fusion.txt", COLUMNS)
    swapped = (COLUMNS[1], COLUMNS[0], *COLUMNS[2:])
    for columns in (swapped, COLUMNS[:-1]):
        with pytest.raises(FusionError) as caught:
            Fusion(tmp_path / "fusion.txt", spec(columns))
        assert caught.value.code is FusionCode.COLUMNS_DIFFER


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "fusion.txt").write_text("tree\n")
    with pytest.raises(FusionError) as caught:
        Fusion(tmp_path / "fusion.txt", spec(COLUMNS))
    assert caught.value.code is FusionCode.UNREADABLE_MODEL


def test_contributions_add_up_to_the_log_odds(tmp_path: Path) -> None:
    write_fusion(tmp_path / "fusion.txt", COLUMNS)
    fusion = Fusion(tmp_path / "fusion.txt", spec(COLUMNS))
    low, high = (fusion.fuse(dict.fromkeys(COLUMNS, value)) for value in (0.1, 0.9))

    def log_odds(probability: float) -> float:
        return float(np.log(probability / (1 - probability)))

    moved = sum(item.contribution for item in high.contributions) - sum(
        item.contribution for item in low.contributions
    )
    assert moved == pytest.approx(log_odds(high.probability) - log_odds(low.probability), abs=1e-9)
    assert low.probability < 0.2
    assert high.probability > 0.8
