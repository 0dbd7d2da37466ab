"""Platt scaling undoes a distortion that is known, and is not shipped where it helps nobody."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from inference.calibration import calibration_identity
from models.manifest import IndeterminateBand
from training.calibration import (
    FusedCases,
    calibrated_all,
    fit_platt,
    indeterminate_band,
    inside,
    measured,
)
from training.metrics import brier, calibration_error


def made_up(count: int, seed: int, *, distortion: float = 1.0, shift: float = 0.0) -> FusedCases:
    """Cases whose true log-odds are known; what is said of them is `distortion` times those, moved."""
    rng = np.random.default_rng(seed)
    odds = rng.normal(0, 2, count)
    return FusedCases(rng.random(count) < expit(odds), expit(distortion * odds + shift))


def test_what_was_distorted_is_set_right() -> None:
    platt = fit_platt(made_up(20_000, 1, distortion=0.5, shift=0.6))
    assert platt.slope == pytest.approx(2.0, rel=0.05)
    assert platt.intercept == pytest.approx(-1.2, rel=0.05)


def test_cases_that_do_not_overlap_give_a_finite_slope() -> None:
    platt = fit_platt(FusedCases(np.array([False, False, True, True]), np.array([0.0, 0.1, 0.9, 1.0])))
    values = calibrated_all([0.0, 0.1, 0.9, 1.0], platt)
    assert 0 < platt.slope < 10
    assert (np.diff(values) > 0).all()
    assert values[0] > 0
    assert values[-1] < 1


def test_where_it_helps_it_is_shipped_with_what_was_measured() -> None:
    unseen = made_up(800, 3, distortion=0.5, shift=0.6)
    result = measured(made_up(800, 2, distortion=0.5, shift=0.6), unseen, "made up", seed=0)
    spec = result.shipped
    assert result.helps
    assert spec.method == "platt"
    assert (spec.cohort, spec.cohort_size, result.fitted_on) == ("made up", 800, 800)
    after = calibrated_all(unseen.probabilities, spec)
    assert spec.brier_before == brier(unseen.truth, unseen.probabilities)
    assert spec.brier_after == brier(unseen.truth, after)
    assert spec.ece_before == calibration_error(unseen.truth, unseen.probabilities)
    assert spec.ece_after == calibration_error(unseen.truth, after)
    assert result.brier_change[0] < result.after.brier - result.before.brier < result.brier_change[1] < 0
    assert calibration_identity(spec).startswith("platt ")


def test_where_it_does_not_help_the_bundle_says_none_and_what_was_measured_without_it() -> None:
    # Fitted where probabilities are distorted, measured where they are right.
    result = measured(made_up(800, 2, distortion=0.5), made_up(800, 3), "made up", seed=0)
    spec = result.shipped
    assert not result.helps
    assert (spec.method, spec.slope, spec.intercept) == ("none", 1.0, 0.0)
    assert (spec.brier_before, spec.ece_before) == (result.before.brier, result.before.ece)
    assert spec.brier_after is None
    assert spec.ece_after is None
    assert result.after.brier > result.before.brier


def test_a_scaling_that_turns_the_order_round_is_not_shipped() -> None:
    result = measured(made_up(800, 2, distortion=-0.5), made_up(800, 3, distortion=-0.5), "made up", seed=0)
    assert result.after.brier < result.before.brier
    assert result.shipped.method == "none"


def test_the_band_parts_what_is_ruled_out_from_what_is_ruled_in() -> None:
    # 40 of a kind: 97.5 % leaves one of each out. Two of each kind lie among the others.
    normal = [*np.linspace(0.01, 0.3, 38), 0.55, 0.65]
    abnormal = [0.35, 0.45, *np.linspace(0.7, 0.99, 38)]
    truth = [False] * 40 + [True] * 40
    band = indeterminate_band(truth, normal + abnormal, 0.5)
    assert band is not None
    assert (band.low, band.high) == pytest.approx((0.4, 0.6))
    assert inside([0.39, 0.4, 0.5, 0.6, 0.61], IndeterminateBand(0.4, 0.6)).tolist() == [
        False,
        True,
        True,
        True,
        False,
    ]
    wider = indeterminate_band(truth, normal + abnormal, 0.68)
    assert wider is not None
    assert (wider.low, wider.high) == pytest.approx((0.4, 0.68))


def test_cases_that_one_threshold_parts_have_no_band() -> None:
    assert indeterminate_band([False, False, True, True], [0.1, 0.2, 0.8, 0.9], 0.5) is None
