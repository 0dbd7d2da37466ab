"""Figures of merit on cases that can be counted by hand."""

from __future__ import annotations

import pytest

from training.metrics import auroc, balanced_operating_point, brier, calibration_error, confusion


def test_auroc_counts_pairs_in_order_and_ties_half() -> None:
    assert auroc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]) == 0.75
    assert auroc([0, 1], [0.5, 0.5]) == 0.5
    assert auroc([1, 1, 0], [0.1, 0.2, 0.9]) == 0.0
    with pytest.raises(ValueError, match="both kinds"):
        auroc([1, 1], [0.1, 0.2])


def test_a_score_at_the_operating_point_counts_as_present() -> None:
    counted = confusion([1, 1, 0, 0, 0], [0.5, 0.4, 0.5, 0.1, 0.2], 0.5)
    assert (counted.true_positive, counted.false_negative) == (1, 1)
    assert (counted.false_positive, counted.true_negative) == (1, 2)
    assert counted.sensitivity == 0.5
    assert counted.specificity == pytest.approx(2 / 3)


def test_the_operating_point_lies_in_the_middle_of_the_widest_good_gap() -> None:
    assert balanced_operating_point([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9]) == pytest.approx(0.5)
    # One abnormal case is beyond reach; the others are parted between 0.3 and 0.6.
    assert balanced_operating_point([1, 0, 0, 1, 1], [0.1, 0.2, 0.3, 0.6, 0.9]) == pytest.approx(0.45)


def test_calibration() -> None:
    assert brier([0, 1], [0.5, 0.5]) == 0.25
    assert calibration_error([0, 0, 1, 1], [0.0, 0.0, 1.0, 1.0], bins=2) == 0
    assert calibration_error([0, 0, 1, 1], [0.3, 0.3, 0.8, 0.8], bins=2) == pytest.approx(0.25)
