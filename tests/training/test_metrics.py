"""Figures of merit on cases that can be counted by hand."""

from __future__ import annotations

import pytest

from training.metrics import (
    auroc,
    brier,
    calibration_error,
    confusion,
    difference_interval,
    f1_score,
    midpoints,
    operating_point,
    youden_index,
)


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
    for merit in (youden_index, f1_score):
        assert operating_point([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9], merit) == pytest.approx(0.5)
        # One abnormal case is beyond reach; the others are parted between 0.3 and 0.6.
        point = operating_point([1, 0, 0, 1, 1], [0.1, 0.2, 0.3, 0.6, 0.9], merit)
        assert point == pytest.approx(0.45)


def test_a_rare_finding_is_not_named_falsely_for_the_sake_of_the_last_case() -> None:
    truth = [0] * 20 + [1, 1, 1]
    scores = [0.02 * n for n in range(20)] + [0.32, 0.8, 0.9]
    assert operating_point(truth, scores, youden_index) == pytest.approx(0.31)
    assert operating_point(truth, scores, f1_score) == pytest.approx(0.59)


def test_calibration() -> None:
    assert brier([0, 1], [0.5, 0.5]) == 0.25
    assert calibration_error([0, 0, 1, 1], [0.0, 0.0, 1.0, 1.0], bins=2) == 0
    assert calibration_error([0, 0, 1, 1], [0.3, 0.3, 0.8, 0.8], bins=2) == pytest.approx(0.25)


def test_bins_hold_equally_many_cases() -> None:
    # Two bins of two: shares 0 and 1/2 against means 0.05 and 0.3, whatever the bins' widths.
    assert calibration_error([0, 0, 0, 1], [0.0, 0.1, 0.2, 0.4], bins=2) == pytest.approx(0.125)


def test_thresholds_lie_between_scores_and_beyond_them() -> None:
    assert midpoints([0.6, 0.2, 0.2]) == pytest.approx([0.1, 0.4, 0.8])


def test_an_interval_tells_a_change_from_noise() -> None:
    low, high = difference_interval([-0.1] * 30 + [-0.2] * 30, seed=1)
    assert -0.17 < low < -0.15 < high < -0.13
    low, high = difference_interval([-0.1, 0.1] * 30, seed=1)
    assert low < 0 < high
    assert (low, high) == difference_interval([-0.1, 0.1] * 30, seed=1)
