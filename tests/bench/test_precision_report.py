"""Reduced precision against float32: what differs is counted, what does not is not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bench.precision_report import flipped_codes, precision_reports, probability_change
from inference.members import Reading
from models.bundle import load_bundle


def test_probabilities_on_both_sides_of_one_half_are_changed_decisions() -> None:
    change = probability_change([(0.49, 0.51), (0.5, 0.49), (0.2, 0.3), (0.7, 0.7)])
    assert change.probabilities == 4
    assert change.decisions == 2
    assert change.largest == pytest.approx(0.1)
    assert change.mean == pytest.approx((0.02 + 0.01 + 0.1 + 0.0) / 4)


def test_every_token_with_another_code_is_a_flip(tiny_bundle: Path) -> None:
    bundle = load_bundle(tiny_bundle)
    codes = bundle.towers["main"].vq.codes
    before = codes[torch.tensor([0, 1, 2, 3, 4, 5])].view(1, 1, 2, 3, -1)
    after = codes[torch.tensor([0, 7, 2, 3, 9, 5])].view_as(before)
    exact, reduced = Reading({}, {"main": before}), Reading({}, {"main": after.bfloat16()})
    assert flipped_codes(bundle, exact, exact) == (0, 6)
    assert flipped_codes(bundle, exact, reduced) == (2, 6)


def test_float32_against_itself_changes_nothing(tiny_bundle: Path) -> None:
    after_one, report = precision_reports(tiny_bundle, ["float32"], volumes=2)
    assert (after_one.volumes, report.volumes) == (1, 2)
    (figures,) = report.figures
    assert figures.flips == (0, 0)
    assert figures.tokens == 3 * 2 * 3
    assert {change.largest for change in figures.changes.values()} == {0.0}
    assert {change.decisions for change in figures.changes.values()} == {0}
    assert figures.changes["ctclip"].probabilities == 2 * 5
    assert figures.changes["slice classifier"].probabilities == 2 * 21


def test_bf16_moves_probabilities_and_the_table_says_how_far(tiny_bundle: Path) -> None:
    (report,) = precision_reports(tiny_bundle, ["bf16"], volumes=1)
    change = report.figures[0].changes["slice classifier"]
    assert 0 < change.mean <= change.largest < 0.2
    assert f"{change.largest:.5f}" in report.table()
