"""One command from nothing to a bundle that loads, tiny; and the bundle that is shipped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from inference.columns import score_columns
from inference.fusion import Fusion
from inference.members import Ensemble
from models.bundle import load_bundle
from phantom.cases import HELD_OUT_SEEDS, draw_case
from tests.training.conftest import PROJECT
from training.dataset import InputGrid, encoder_volume
from training.metrics import auroc
from training.pipeline import Pipeline
from training.recipe import LABELS, Recipe
from training.weights import VERSION

SHIPPED = PROJECT / "best_models" / "demo"


def test_from_nothing_to_a_bundle(tmp_path: Path, tiny_recipe: Recipe) -> None:
    out = tmp_path / "bundle"
    report = Pipeline(tiny_recipe, tmp_path / "work", workers=1).make_bundle(out)
    bundle = load_bundle(out)
    assert bundle.manifest.demonstration
    assert bundle.manifest.fallback is None
    assert {finding.name for finding in bundle.manifest.findings} == set(LABELS)
    assert report["cases"] == tiny_recipe.cases.held_out
    assert bundle.manifest.calibration.cohort_size == tiny_recipe.cases.held_out
    card = (out / "README.md").read_text()
    assert "not for diagnosis" in card
    assert f"AUROC {report['pathology']['auroc']:.3f}" in card

    _calibrate_anew(tmp_path, tiny_recipe, out, report)


def _calibrate_anew(tmp_path: Path, recipe: Recipe, out: Path, report: dict[str, Any]) -> None:
    """The stage by itself: from the shipped files alone, which it leaves as they are."""
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    findings = load_bundle(out).manifest.findings
    with (out / "README.md").open("a") as card:
        card.write("\n## History\nSaid by a person.\n")
    again = Pipeline(recipe, tmp_path / "elsewhere", workers=1).calibrate(out)
    after = {path.name: path.read_bytes() for path in out.iterdir()}
    assert again == report
    assert {name for name in before if before[name] != after[name]} == {"README.md"}
    assert load_bundle(out).manifest.findings == findings
    assert after["README.md"] == before["README.md"] + b"\n## History\nSaid by a person.\n"
    assert not (tmp_path / "elsewhere" / "cases" / "fusion").exists()


def test_no_two_parts_share_a_case(tmp_path: Path) -> None:
    pipeline = Pipeline(Recipe(), tmp_path, workers=1)
    parts = [
        pipeline.encoder_cases,
        pipeline.monitoring,
        pipeline.fusion,
        pipeline.validation,
        pipeline.calibration,
        pipeline.held_out,
    ]
    seeds = [case.seed for part in parts for case in part.cases]
    assert len(set(seeds)) == len(seeds)


def test_the_shipped_bundle_is_whole_and_small() -> None:
    bundle = load_bundle(SHIPPED)
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 25e6
    manifest = bundle.manifest
    assert manifest.demonstration
    assert {finding.name for finding in manifest.findings} == set(LABELS)
    assert manifest.members.ctclip is not None
    assert manifest.members.supervised is not None
    assert manifest.members.diffusion is not None
    assert manifest.members.diffusion.reconstruction is not None
    assert manifest.members.diffusion.reconstruction.enabled
    assert "not for diagnosis" in manifest.intended_use
    assert manifest.version == VERSION
    assert manifest.calibration.cohort_size == Recipe().cases.held_out
    assert manifest.calibration.brier_before is not None


def test_the_shipped_bundle_tells_normal_from_abnormal_on_held_out_seeds() -> None:
    """Seeds from the far end of the held-out range, which the model card's figures have not used."""
    bundle = load_bundle(SHIPPED)
    spec = bundle.manifest.fusion
    assert spec is not None
    assert bundle.fusion_path is not None
    ensemble, fusion = Ensemble(bundle), Fusion(bundle.fusion_path, spec)
    grid = InputGrid(bundle.manifest.input.spacing_mm, bundle.manifest.input.shape)
    seeds = HELD_OUT_SEEDS[-16:]
    cases = [draw_case(seed, abnormal=seed % 2 == 1) for seed in seeds]
    probabilities = []
    for case in cases:
        volume = torch.from_numpy(encoder_volume(case, grid))
        columns = score_columns(
            ensemble.read(volume, [f"{case.seed}/{plane}" for plane in range(len(volume))]).scores
        )
        probabilities.append(fusion.fuse(columns).probability)
    assert auroc([bool(case.findings) for case in cases], probabilities) >= 0.90
    assert np.ptp(probabilities) > 0.5
