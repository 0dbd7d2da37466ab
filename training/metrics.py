"""How well scores tell cases apart, and how far probabilities can be believed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

CALIBRATION_BINS = 10


def auroc(truth: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Probability that a case with the finding scores above one without it; a tie counts one half.

    Raises
    ------
    ValueError
        If all cases are of one kind.
    """
    present = np.asarray(truth, dtype=bool)
    positives, negatives = int(present.sum()), int((~present).sum())
    if positives == 0 or negatives == 0:
        raise ValueError("AUROC needs cases of both kinds")
    ranks = rankdata(np.asarray(scores, dtype=np.float64))
    return float((ranks[present].sum() - positives * (positives + 1) / 2) / (positives * negatives))


@dataclass(frozen=True)
class Confusion:
    """Counts of decisions against truth."""

    true_positive: int
    false_positive: int
    true_negative: int
    false_negative: int

    @property
    def sensitivity(self) -> float:
        """Share of the cases with the finding that are called so; NaN without such cases."""
        present = self.true_positive + self.false_negative
        return self.true_positive / present if present else float("nan")

    @property
    def specificity(self) -> float:
        """Share of the cases without the finding that are called so; NaN without such cases."""
        absent = self.true_negative + self.false_positive
        return self.true_negative / absent if absent else float("nan")


def confusion(truth: npt.ArrayLike, scores: npt.ArrayLike, operating_point: float) -> Confusion:
    """Decisions `score >= operating_point` against the truth."""
    present = np.asarray(truth, dtype=bool)
    called = np.asarray(scores, dtype=np.float64) >= operating_point
    return Confusion(
        int((called & present).sum()),
        int((called & ~present).sum()),
        int((~called & ~present).sum()),
        int((~called & present).sum()),
    )


def youden_index(counted: Confusion) -> float:
    """Sensitivity + specificity - 1 (Youden, 1950): for what is as often there as not."""
    return counted.sensitivity + counted.specificity - 1


def f1_score(counted: Confusion) -> float:
    """Harmonic mean of sensitivity and precision (van Rijsbergen, 1979): for what is rare.

    By Youden's index, a finding of one case in eight that is named in every seventh case without it too would
    do well, and half of what it names would be false.
    """
    wrong = counted.false_positive + counted.false_negative
    return 2 * counted.true_positive / (2 * counted.true_positive + wrong)


def operating_point(
    truth: npt.ArrayLike, scores: npt.ArrayLike, merit: Callable[[Confusion], float]
) -> float:
    """The threshold of greatest merit.

    It lies in the middle of the gap between two scores; where several are equally good, in the widest gap, so
    that a score moved by the arithmetic of another machine does not change its side.
    """
    candidates = midpoints(scores)
    merits = [round(merit(confusion(truth, scores, point)), 9) for point in candidates]
    best = max(zip(merits, np.diff(_edges(scores)), candidates, strict=True))
    return float(best[2])


def midpoints(scores: npt.ArrayLike) -> list[float]:
    """A threshold in the middle of every gap between two scores, 0 and 1 included as ends; ascending."""
    edges = _edges(scores)
    return [float(point) for point in (edges[1:] + edges[:-1]) / 2]


def squared_errors(truth: npt.ArrayLike, probabilities: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Squared distance of probability and truth, (n,)."""
    difference = np.asarray(probabilities, dtype=np.float64) - np.asarray(truth, dtype=np.float64)
    return np.square(difference)


def brier(truth: npt.ArrayLike, probabilities: npt.ArrayLike) -> float:
    """Mean squared distance of probability and truth (Brier, 1950); 0.25 is what saying 0.5 gives."""
    return float(squared_errors(truth, probabilities).mean())


def difference_interval(differences: npt.ArrayLike, seed: int, draws: int = 2000) -> tuple[float, float]:
    """95 % interval of a mean of differences (n,), by drawing the cases anew (percentile bootstrap).

    Efron and Tibshirani, "An introduction to the bootstrap", 1993.
    """
    values = np.asarray(differences, dtype=np.float64)
    drawn = np.random.default_rng(seed).integers(0, len(values), (draws, len(values)))
    low, high = np.quantile(values[drawn].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def calibration_error(
    truth: npt.ArrayLike, probabilities: npt.ArrayLike, bins: int = CALIBRATION_BINS
) -> float:
    """Expected calibration error: mean |share present - mean probability| over bins, weighed by their cases.

    As Naeini, Cooper and Hauskrecht define it (AAAI 2015), with `bins` bins of equally many cases (Nguyen and
    O'Connor, EMNLP 2015) in place of bins of equal width, most of which few cases would fall into.
    """
    order = np.argsort(np.asarray(probabilities), kind="stable")
    groups = np.array_split(order, bins)
    present, said = np.asarray(truth, dtype=np.float64), np.asarray(probabilities, dtype=np.float64)
    gaps = [abs(present[g].mean() - said[g].mean()) * len(g) for g in groups if len(g)]
    return float(sum(gaps) / len(order))


def _edges(scores: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """0, every score once in ascending order, 1."""
    return np.concatenate([[0.0], np.unique(np.asarray(scores, dtype=np.float64)), [1.0]])
