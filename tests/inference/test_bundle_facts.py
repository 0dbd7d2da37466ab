"""A bundle whose parts do not fit together is not loaded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from inference.analyse import Analyser
from inference.fusion import FusionCode, FusionError
from models.manifest import ConstantColumn, FindingSpec
from tests.inference.conftest import manifest, write_bundle


def test_a_column_that_no_member_gives_is_found_when_the_bundle_is_loaded(tmp_path: Path) -> None:
    rule = manifest()
    assert rule.fusion is not None
    missing = replace(rule.fusion, columns=(*rule.fusion.columns, "kolyan_mean"))
    folder = write_bundle(tmp_path / "other", replace(rule, fusion=missing))
    with pytest.raises(FusionError) as caught:
        Analyser(folder)
    assert caught.value.code is FusionCode.MISSING_COLUMN
    assert "kolyan_mean" in caught.value.message
    declared = replace(missing, constant_columns={"kolyan_mean": ConstantColumn(0.0, "not in this bundle")})
    analyser = Analyser(write_bundle(tmp_path / "other", replace(rule, fusion=declared)))
    assert analyser.identity.name == "small"


def test_a_finding_of_an_unknown_column_is_found_when_the_bundle_is_loaded(tmp_path: Path) -> None:
    rule = replace(manifest(), findings=(FindingSpec("Lung nodule", ("ctclip_Nodule",), 0.5, 1),))
    with pytest.raises(FusionError, match="ctclip_Nodule"):
        Analyser(write_bundle(tmp_path / "other", rule))
