"""The same scores give the same fusion, and a more probable finding never makes a study healthier."""

from __future__ import annotations

from pathlib import Path

import lightgbm
import numpy as np

from inference.fusion import Fusion
from models.manifest import FusionSpec
from training.fusion import fusion_columns, save_fusion, table, train_fusion
from training.recipe import LABELS

COLUMNS = fusion_columns(LABELS)


def made_up(count: int, seed: int = 0) -> tuple[list[dict[str, float]], np.ndarray]:
    rng = np.random.default_rng(seed)
    abnormal = rng.integers(0, 2, count)
    rows = [
        {column: float(np.clip(rng.normal(0.25 + 0.4 * truth, 0.2), 0, 1)) for column in COLUMNS}
        for truth in abnormal
    ]
    return rows, abnormal


def fused(model: lightgbm.Booster, rows: list[dict[str, float]], columns: tuple[str, ...]) -> np.ndarray:
    return np.asarray(model.predict(table(rows, columns), num_threads=1))


def test_the_same_scores_give_the_same_model() -> None:
    rows, abnormal = made_up(120)
    texts = [train_fusion(rows, abnormal, COLUMNS, seed=5).model_to_string() for _ in range(2)]
    assert texts[0] == texts[1]


def test_inference_reads_it_and_agrees(tmp_path: Path) -> None:
    rows, abnormal = made_up(120)
    model = train_fusion(rows, abnormal, COLUMNS, seed=5)
    save_fusion(model, tmp_path / "fusion.txt")
    fusion = Fusion(tmp_path / "fusion.txt", FusionSpec("fusion.txt", 0.5, COLUMNS))
    expected = fused(model, rows[:5], COLUMNS)
    np.testing.assert_allclose([fusion.fuse(row).probability for row in rows[:5]], expected, rtol=1e-12)


def test_a_more_probable_finding_never_lowers_the_probability() -> None:
    rows, abnormal = made_up(120)
    model = train_fusion(rows, abnormal, COLUMNS, seed=5)
    for row in made_up(10, seed=1)[0]:
        swept = [{**row, "supervised_Lung nodule": value} for value in np.linspace(0, 1, 21)]
        assert (np.diff(fused(model, swept, COLUMNS)) >= 0).all()


def test_its_probabilities_are_calibrated_on_cases_like_those_it_learned_from() -> None:
    rows, abnormal = made_up(240)
    model = train_fusion(rows, abnormal, COLUMNS, seed=5)
    unseen, truth = made_up(400, seed=2)
    assert abs(fused(model, unseen, COLUMNS).mean() - truth.mean()) < 0.08
