"""From the fusion's probability to one that can be believed: the calibration that a bundle declares.

Platt scaling moves and stretches the log-odds (Platt, "Probabilistic outputs for support vector machines and
comparisons to regularized likelihood methods", 1999). The order of studies stays: what a probability means
changes, and not which of two studies is ahead.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict

from scipy.special import expit, logit

from models.manifest import CalibrationSpec

# The log-odds of 0 and 1 are infinite; within these ends they are finite, at most 27.6 either way.
_LEAST = 1e-12
_DIGITS = 12


def calibrated(probability: float, spec: CalibrationSpec) -> float:
    """The probability (0 to 1) after the bundle's calibration.

    Raises
    ------
    ValueError
        If `probability` is not within 0 and 1.
    """
    if not 0 <= probability <= 1:
        raise ValueError(f"{probability} is not a probability")
    if spec.method == "none":
        return probability
    return float(expit(spec.slope * log_odds(probability) + spec.intercept))


def log_odds(probability: float) -> float:
    """log(p / (1 - p)), finite for 0 and 1 as well."""
    return float(logit(min(max(probability, _LEAST), 1 - _LEAST)))


def calibration_identity(spec: CalibrationSpec) -> str:
    """`none`, or the method and the first 12 hexadecimal digits of its table's sha256: `platt 3f2a0c...`.

    The table is digested as JSON with sorted keys and no spaces: a calibration that was fitted or measured on
    other cases is another one.
    """
    if spec.method == "none":
        return "none"
    table = json.dumps(asdict(spec), sort_keys=True, separators=(",", ":"))
    return f"{spec.method} {hashlib.sha256(table.encode()).hexdigest()[:_DIGITS]}"


def calibration_words(spec: CalibrationSpec) -> str:
    """A sentence for a reader: whether the probability is calibrated, on which cases, and how well."""
    if spec.method == "none":
        figures = _figures(spec.brier_before, spec.ece_before)
        return f"The probability is not calibrated{_on(spec)}{f': {figures}' if figures else ''}."
    before = _figures(spec.brier_before, spec.ece_before)
    after = _figures(spec.brier_after, spec.ece_after)
    measured = f": {after}, before it {before}" if before and after else ""
    return f"The probability is calibrated by Platt scaling{_on(spec)}{measured}."


def _on(spec: CalibrationSpec) -> str:
    return f" (measured on {spec.cohort_size} cases: {spec.cohort})" if spec.cohort_size else ""


def _figures(brier: float | None, error: float | None) -> str:
    if brier is None or error is None:
        return ""
    return f"Brier score {brier:.4f} and expected calibration error {error:.4f}"
