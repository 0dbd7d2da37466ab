"""What the study's probability means: Platt scaling fitted on cases of its own and measured on others.

The cases that it is fitted on trained no member and no fusion; those that it is measured on decide only
whether it is shipped.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit

from inference.calibration import calibrated, log_odds
from models.manifest import CalibrationSpec, IndeterminateBand
from training.metrics import (
    brier,
    calibration_error,
    confusion,
    difference_interval,
    midpoints,
    squared_errors,
)

# Below the band at most one abnormal case in forty is missed, above it one normal case in forty accused.
BAND_SHARE = 0.975

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class FusedCases:
    """Whether anything is abnormal in each case (n,), and the fusion's raw probability of it (n,)."""

    truth: BoolArray
    probabilities: FloatArray


@dataclass(frozen=True)
class Believability:
    """How far probabilities can be believed: Brier score and expected calibration error, 0 at best."""

    brier: float
    ece: float


@dataclass(frozen=True)
class MeasuredCalibration:
    """Platt scaling, and what it does to cases that it was not fitted on.

    Attributes
    ----------
    platt
        Slope and intercept.
    before, after
        The measured cases without it and with it.
    brier_change
        95 % interval of the change of the Brier score; below 0 is better.
    fitted_on, measured_on
        How many cases.
    cohort
        What the measured cases are.
    """

    platt: CalibrationSpec
    before: Believability
    after: Believability
    brier_change: tuple[float, float]
    fitted_on: int
    measured_on: int
    cohort: str

    @property
    def helps(self) -> bool:
        """Whether it keeps the order of studies and lowers both figures of the measured cases."""
        lower = self.after.brier < self.before.brier and self.after.ece < self.before.ece
        return self.platt.slope > 0 and lower

    @property
    def shipped(self) -> CalibrationSpec:
        """What the bundle declares: Platt scaling where it helps, else `none` with what was measured."""
        return CalibrationSpec(
            method="platt" if self.helps else "none",
            slope=self.platt.slope if self.helps else 1.0,
            intercept=self.platt.intercept if self.helps else 0.0,
            cohort=self.cohort,
            cohort_size=self.measured_on,
            brier_before=self.before.brier,
            brier_after=self.after.brier if self.helps else None,
            ece_before=self.before.ece,
            ece_after=self.after.ece if self.helps else None,
        )


def fit_platt(cases: FusedCases) -> CalibrationSpec:
    """Slope and intercept of the greatest likelihood (Platt, 1999), nothing yet measured.

    The targets are Platt's, (n1 + 1) / (n1 + 2) for the n1 abnormal cases and 1 / (n0 + 2) for the n0 normal
    ones: the slope stays finite even where the two kinds do not overlap.
    """
    odds = np.array([log_odds(probability) for probability in cases.probabilities])
    abnormal = int(cases.truth.sum())
    normal = len(cases.truth) - abnormal
    targets = np.where(cases.truth, (abnormal + 1) / (abnormal + 2), 1 / (normal + 2))

    def loss(parameters: FloatArray) -> tuple[float, FloatArray]:
        fitted = parameters[0] * odds + parameters[1]
        gap = expit(fitted) - targets
        value = float((np.logaddexp(0, fitted) - targets * fitted).mean())
        return value, np.array([(gap * odds).mean(), gap.mean()])

    found = minimize(loss, np.array([1.0, 0.0]), jac=True, method="BFGS")
    slope, intercept = (float(value) for value in found.x)
    return CalibrationSpec("platt", slope, intercept)


def measured(fit: FusedCases, unseen: FusedCases, cohort: str, seed: int) -> MeasuredCalibration:
    """Platt scaling fitted on `fit` and measured on `unseen`, which `cohort` describes."""
    platt = fit_platt(fit)
    scaled = FusedCases(unseen.truth, calibrated_all(unseen.probabilities, platt))
    changes = squared_errors(scaled.truth, scaled.probabilities) - squared_errors(
        unseen.truth, unseen.probabilities
    )
    return MeasuredCalibration(
        platt=platt,
        before=_believability(unseen),
        after=_believability(scaled),
        brier_change=difference_interval(changes, seed),
        fitted_on=len(fit.truth),
        measured_on=len(unseen.truth),
        cohort=cohort,
    )


def calibrated_all(probabilities: npt.ArrayLike, spec: CalibrationSpec) -> FloatArray:
    """Calibrated probabilities (n,), each as inference calibrates it."""
    return np.array([calibrated(float(value), spec) for value in np.asarray(probabilities)])


def indeterminate_band(
    truth: npt.ArrayLike, probabilities: npt.ArrayLike, operating_point: float
) -> IndeterminateBand | None:
    """The probabilities that rule a pathology neither out nor in, None where every probability does one.

    It reaches from the highest threshold that still calls `BAND_SHARE` of the abnormal cases to the lowest
    that spares as many of the normal ones, and takes in the operating point. Where the second is not above
    the first, one threshold does both.
    """
    counted = [(point, confusion(truth, probabilities, point)) for point in midpoints(probabilities)]
    low = max(point for point, counts in counted if _reached(counts.sensitivity))
    high = min(point for point, counts in counted if _reached(counts.specificity))
    if low >= high:
        return None
    return IndeterminateBand(min(low, operating_point), max(high, operating_point))


def inside(probabilities: npt.ArrayLike, band: IndeterminateBand) -> BoolArray:
    """Whether each calibrated probability (n,) lies in the band, both ends included."""
    values = np.asarray(probabilities, dtype=np.float64)
    within: BoolArray = (values >= band.low) & (values <= band.high)
    return within


def _believability(cases: FusedCases) -> Believability:
    return Believability(
        brier(cases.truth, cases.probabilities), calibration_error(cases.truth, cases.probabilities)
    )


def _reached(share: float) -> bool:
    # Shares are quotients of counts; the allowance is for their last digit.
    return share >= BAND_SHARE - 1e-9
