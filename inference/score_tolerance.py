"""How far a score may be from the one that was expected, and whether it is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from models.precision import Precision

Kind = Literal["probability", "fusion", "reconstruction"]

TOLERANCES: dict[Kind, dict[Precision, float]] = {
    # Absolute. Between two processors a few of a volume's codes flip in float32; halved products flip more,
    # and a single probability of a full-size bundle was seen to move by up to 0.005 in fp16 and 0.02 in bf16.
    "probability": {"float32": 1e-3, "fp16": 0.01, "bf16": 0.03},
    # Absolute. Trees step: a score that moves across a split takes the sum of several leaves with it.
    "fusion": {"float32": 0.02, "fp16": 0.05, "bf16": 0.1},
    # A share of the largest reconstruction score, since these are differences of voxels. Guidance follows a
    # gradient over many steps, and each step hands the next what it rounded.
    "reconstruction": {"float32": 0.01, "fp16": 0.05, "bf16": 0.1},
}


@dataclass(frozen=True)
class ScoreCheck:
    """One score: what the bundle expects, what this machine gives, and how far apart they may be (> 0)."""

    name: str
    kind: Kind
    expected: float
    got: float
    tolerance: float

    @property
    def deviation(self) -> float:
        """|got - expected|; infinite where one of them is not finite."""
        difference = abs(self.got - self.expected)
        return difference if math.isfinite(difference) else math.inf

    @property
    def share(self) -> float:
        """The deviation as a share of what is allowed; above 1 it is too large."""
        return self.deviation / self.tolerance

    @property
    def words(self) -> str:
        """The score as part of a sentence."""
        return (
            f"{self.name}: expected {self.expected:.6g}, got {self.got:.6g}, allowed deviation"
            f" {self.tolerance:.2g}"
        )
