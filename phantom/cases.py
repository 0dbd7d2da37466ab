"""Which thorax, with which findings: every case follows from its seed alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FINDINGS = (
    "Lung nodule",
    "Consolidation",
    "Pleural effusion",
    "Cardiomegaly",
    "Emphysema",
    "Pneumothorax",
)

# Disjoint: a seed seen in training is never tested on, and the demonstration has its own.
TRAINING_SEEDS = range(1_000_000)
VALIDATION_SEEDS = range(1_000_000, 1_100_000)
HELD_OUT_SEEDS = range(1_100_000, 1_200_000)
DEMO_SEEDS = range(1_200_000, 1_200_100)

_NUMBER_OF_FINDINGS = (0.55, 0.30, 0.15)


@dataclass(frozen=True)
class Case:
    """A thorax: `seed` draws the anatomy and where and how large the findings are; no finding is normal."""

    seed: int
    findings: tuple[str, ...]

    def __post_init__(self) -> None:
        unknown = set(self.findings) - set(FINDINGS)
        if unknown or len(set(self.findings)) != len(self.findings):
            raise ValueError(f"findings must be distinct and among {FINDINGS}: {self.findings}")

    def stream(self, purpose: str) -> np.random.Generator:
        """Random numbers of one purpose; a finding more or less leaves those of the others as they were."""
        return np.random.default_rng([self.seed, *purpose.encode()])


def draw_case(seed: int, abnormal: bool | None = None) -> Case:
    """Draw a case, normal one time in two unless `abnormal` says which; abnormal is one to three findings."""
    rng = Case(seed, ()).stream("case")
    coin = bool(rng.random() < 0.5)
    number = 1 + int(rng.choice(len(_NUMBER_OF_FINDINGS), p=_NUMBER_OF_FINDINGS))
    chosen = sorted(rng.choice(len(FINDINGS), size=number, replace=False))
    if not (coin if abnormal is None else abnormal):
        return Case(seed, ())
    return Case(seed, tuple(FINDINGS[index] for index in chosen))


DEMO_CASES = tuple(
    Case(seed, findings)
    for seed, findings in zip(
        DEMO_SEEDS,
        (
            (),
            ("Lung nodule",),
            ("Pleural effusion", "Cardiomegaly"),
            ("Pneumothorax",),
            ("Emphysema",),
            ("Consolidation",),
        ),
        strict=False,
    )
)
