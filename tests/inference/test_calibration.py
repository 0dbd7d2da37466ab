"""A calibrated probability keeps the order of studies, is finite at both ends, and is known by its table."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from inference.calibration import calibrated, calibration_identity, calibration_words
from models.manifest import CalibrationSpec

PLATT = CalibrationSpec("platt", 1.6, -0.4, "synthetic thoraces, held out", 160, 0.02, 0.015, 0.03, 0.02)


def test_platt_scaling_moves_and_stretches_the_log_odds() -> None:
    # Odds of 3 to 1, log-odds doubled and moved by log 2: odds of 18 to 1.
    doubled = CalibrationSpec("platt", slope=2.0, intercept=math.log(2))
    assert calibrated(0.75, doubled) == pytest.approx(18 / 19)
    assert calibrated(0.3, CalibrationSpec("platt", slope=1.0, intercept=0.0)) == pytest.approx(0.3)


def test_without_a_method_the_probability_stays_bit_for_bit() -> None:
    assert calibrated(0.1234567890123, CalibrationSpec("none", slope=3.0, intercept=1.0)) == 0.1234567890123


def test_the_order_of_studies_stays() -> None:
    values = [calibrated(step / 200, PLATT) for step in range(201)]
    assert values == sorted(set(values))


@pytest.mark.parametrize("slope", [0.5, 1.0, 40.0])
def test_certainty_stays_a_finite_probability(slope: float) -> None:
    spec = replace(PLATT, slope=slope)
    assert 0 <= calibrated(0.0, spec) < 1e-5
    assert 1 - 1e-5 < calibrated(1.0, spec) <= 1


@pytest.mark.parametrize("value", [-0.01, 1.01, math.nan])
def test_what_is_no_probability_is_refused(value: float) -> None:
    for spec in (PLATT, CalibrationSpec("none")):
        with pytest.raises(ValueError, match="not a probability"):
            calibrated(value, spec)


def test_the_identity_is_the_method_and_the_digest_of_the_whole_table() -> None:
    assert calibration_identity(CalibrationSpec("none", cohort="anything")) == "none"
    method, digest = calibration_identity(PLATT).split(" ")
    assert method == "platt"
    assert len(digest) == 12
    assert int(digest, 16) >= 0
    assert calibration_identity(replace(PLATT)) == f"platt {digest}"
    assert calibration_identity(replace(PLATT, slope=1.6000001)) != f"platt {digest}"
    assert calibration_identity(replace(PLATT, cohort_size=161)) != f"platt {digest}"


def test_the_words_say_what_was_measured_and_on_which_cases() -> None:
    words = calibration_words(PLATT)
    assert "Platt" in words
    assert "160 cases: synthetic thoraces, held out" in words
    assert "0.0150" in words
    assert "before it Brier score 0.0200" in words
    measured = CalibrationSpec("none", cohort="held out", cohort_size=9, brier_before=0.1, ece_before=0.05)
    assert calibration_words(measured) == (
        "The probability is not calibrated (measured on 9 cases: held out):"
        " Brier score 0.1000 and expected calibration error 0.0500."
    )
    assert calibration_words(CalibrationSpec("none")) == "The probability is not calibrated."
