from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from inference.columns import UnknownLabelError, mean_max_std, original_argmax, score_columns


def reference(parity: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    folder = parity / "features"
    return json.loads((folder / "expected.json").read_text()), json.loads(
        (folder / "labels.json").read_text()
    )


def reference_scores(inputs: dict[str, dict[str, float]], *members: str) -> dict[str, dict[str, float]]:
    """The fixture's scores by member and name."""
    scores: dict[str, dict[str, float]] = {}
    for part in members:
        member = part.split("_")[0]
        named = {name.removeprefix(f"{member}_"): value for name, value in inputs[part].items()}
        scores.setdefault(member, {}).update(named)
    return scores


@pytest.mark.parametrize(
    ("case", "members"),
    [
        ("no_diffusion", ()),
        ("classifier_only", ("diffusion_classifier",)),
        ("all", ("diffusion_classifier", "diffusion_reconstruction")),
    ],
)
def test_the_published_columns(parity: Path, case: str, members: tuple[str, ...]) -> None:
    expected, labels = reference(parity)
    scores = reference_scores(expected["inputs"], "supervised", "ctclip", *members)
    columns = score_columns(scores, labels["groups"])
    absent = {name for name in expected[case]["columns"] if name.startswith(("kolyan_", "okhr_"))}
    assert set(expected[case]["columns"]) - absent == set(columns)
    for name, value in zip(expected[case]["columns"], expected[case]["values"], strict=True):
        if name not in absent:
            assert columns[name] == pytest.approx(value, abs=1e-12), name


def test_the_original_names_the_highest_single_column(parity: Path) -> None:
    expected, labels = reference(parity)
    columns = score_columns(reference_scores(expected["inputs"], "supervised", "ctclip"), labels["groups"])
    assert original_argmax(columns) == "Rib fracture"
    received = {name: value for name, value in columns.items()
                if name not in expected["lightgbm_zeroed_by_reference"]}  # fmt: skip
    assert original_argmax(received) == "Atelectasis"
    assert original_argmax({}) is None
    umbrella = received | {"ctclip_Pathological finding": 0.999, "ctclip_group_vascular_max": 1.0}
    assert original_argmax(umbrella) == "Pathological finding"


def test_the_deviation_is_the_population_one() -> None:
    assert mean_max_std([1.0, 3.0]) == {"mean": 2.0, "max": 3.0, "std": 1.0}


def test_a_group_of_unknown_labels_is_an_error() -> None:
    with pytest.raises(UnknownLabelError, match="Rib fracture"):
        score_columns({"ctclip": {"Emphysema": 0.5}}, {"chest_wall": ["Rib fracture"]})
