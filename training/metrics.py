"""How well scores tell cases apart, and how far probabilities can be believed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

FloatArray = npt.NDArray[np.floating]


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
    values = np.unique(np.asarray(scores, dtype=np.float64))
    edges = np.concatenate([[0.0], values, [1.0]])
    candidates = (edges[1:] + edges[:-1]) / 2
    merits = [round(merit(confusion(truth, scores, point)), 9) for point in candidates]
    best = max(zip(merits, np.diff(edges), candidates, strict=True))
    return float(best[2])


def brier(truth: npt.ArrayLike, probabilities: npt.ArrayLike) -> float:
    """Mean squared distance of probability and truth (Brier, 1950); 0.25 is what saying 0.5 gives."""
    difference = np.asarray(probabilities, dtype=np.float64) - np.asarray(truth, dtype=np.float64)
    return float(np.square(difference).mean())


def calibration_error(truth: npt.ArrayLike, probabilities: npt.ArrayLike, bins: int = 5) -> float:
    """Mean |share present - mean probability| over `bins` groups of equally many cases."""
    order = np.argsort(np.asarray(probabilities), kind="stable")
    groups = np.array_split(order, bins)
    present, said = np.asarray(truth, dtype=np.float64), np.asarray(probabilities, dtype=np.float64)
    gaps = [abs(present[g].mean() - said[g].mean()) * len(g) for g in groups if len(g)]
    return float(sum(gaps) / len(order))
