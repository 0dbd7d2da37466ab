"""The fusion model: LightGBM over the members' named scores of cases that no member was trained on.

Few leaves, small steps and the logarithmic loss keep its answer near a probability (`training.calibration`
measures how near); the prevalence it learns is one in two. A member's probability that rises never lowers the
fused one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import lightgbm
import numpy as np
import numpy.typing as npt

_ROUNDS = 60
_PARAMETERS = {
    "objective": "binary",
    "num_leaves": 4,
    "learning_rate": 0.08,
    "min_data_in_leaf": 12,
    "lambda_l2": 4.0,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbosity": -1,
}


def fusion_columns(labels: Sequence[str]) -> tuple[str, ...]:
    """The columns that the demonstration's fusion reads, in order."""
    members = ("supervised", "ctclip")
    return (
        *(f"{member}_{label}" for member in members for label in labels),
        *(
            f"{member}_{rule}"
            for member in members
            for rule in ("mean_probability", "max_probability", "top3_mean")
        ),
        *(f"diffusion_classifier_{rule}_probability" for rule in ("mean", "max", "std")),
        *(f"diffusion_reconstruction_{rule}" for rule in ("mean", "max", "std")),
    )


def table(rows: Sequence[Mapping[str, float]], columns: Sequence[str]) -> npt.NDArray[np.float64]:
    """Named scores, a case each, as a matrix (cases, columns). A missing score is a KeyError."""
    return np.array([[row[column] for column in columns] for row in rows], dtype=np.float64)


def train_fusion(
    rows: Sequence[Mapping[str, float]], abnormal: npt.ArrayLike, columns: Sequence[str], seed: int
) -> lightgbm.Booster:
    """The model that gives the probability of any pathology; the same rows give the same model text."""
    truth = np.asarray(abnormal, dtype=np.float64)
    monotone = [0 if "_std" in column or "_reconstruction_" in column else 1 for column in columns]
    data = lightgbm.Dataset(
        table(rows, columns),
        label=truth,
        # Half of all cases are abnormal; of a few hundred drawn, a little more or less are.
        weight=np.where(truth > 0, 0.5 / truth.mean(), 0.5 / (1 - truth.mean())),
        # LightGBM would put underscores for the spaces by itself, with a warning; the manifest has the names.
        feature_name=[column.replace(" ", "_") for column in columns],
        free_raw_data=True,
    )
    parameters = {**_PARAMETERS, "monotone_constraints": monotone, "seed": seed}
    return lightgbm.train(parameters, data, num_boost_round=_ROUNDS)


def save_fusion(model: lightgbm.Booster, path: Path) -> None:
    """LightGBM's own text: nothing to unpickle."""
    path.write_text(model.model_to_string(), encoding="utf-8")
