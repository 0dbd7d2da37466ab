"""The fusion: named columns in the model's order, LightGBM, one calibrated probability and what moved it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import lightgbm
import numpy as np

from inference.study_result import Contribution
from models.manifest import FusionSpec


class FusionCode(StrEnum):
    """Stable words for why a fusion model is not used."""

    UNREADABLE_MODEL = "unreadable_model"
    COLUMNS_DIFFER = "columns_differ"
    MISSING_COLUMN = "missing_column"


class FusionError(Exception):
    """A fusion model that does not fit its bundle: a stable code and a sentence that names the columns."""

    def __init__(self, code: FusionCode, message: str) -> None:
        super().__init__(f"{code.value}: {message}")
        self.code = code
        self.message = message


@dataclass(frozen=True)
class FusedScore:
    """Probability 0 to 1, and every column with its value and contribution to the log-odds."""

    probability: float
    contributions: tuple[Contribution, ...]


class Fusion:
    """A LightGBM model with the column names of its bundle."""

    def __init__(self, path: Path, spec: FusionSpec) -> None:
        """Load the model from LightGBM text.

        Raises
        ------
        FusionError
            `unreadable_model`; `columns_differ` if the model's own names are not those of the bundle.
        """
        self._spec = spec
        try:
            self._booster = lightgbm.Booster(model_file=str(path))
        except lightgbm.basic.LightGBMError as error:
            raise FusionError(FusionCode.UNREADABLE_MODEL, f"{path.name} is not a LightGBM model") from error
        names = self._booster.feature_name()
        # LightGBM writes underscores for what its text format cannot hold: names are compared as written.
        pairs = zip(names, spec.columns, strict=False)
        different = [column for name, column in pairs if _as_written(name) != _as_written(column)]
        if different or len(names) != len(spec.columns):
            raise FusionError(
                FusionCode.COLUMNS_DIFFER,
                f"{path.name} has {len(names)} columns, the bundle {len(spec.columns)};"
                f" different: {', '.join(different) or 'the number alone'}",
            )

    @property
    def trees(self) -> int:
        """Number of trees."""
        return int(self._booster.num_trees())

    @property
    def warnings(self) -> tuple[str, ...]:
        """A sentence for every column that the bundle declares constant."""
        return tuple(
            f"The fusion column {name} is held at {constant.value:g}: {constant.reason}"
            for name, constant in self._spec.constant_columns.items()
        )

    def check(self, given: Mapping[str, float]) -> None:
        """Raise `FusionError` (`missing_column`) unless every column is given or declared constant."""
        missing = [name for name in self._spec.columns if name not in given and name not in self._constants]
        if missing:
            raise FusionError(
                FusionCode.MISSING_COLUMN,
                f"no member gives {', '.join(missing)};"
                " a bundle must declare them under [fusion.constant_columns]",
            )

    def fuse(self, given: Mapping[str, float]) -> FusedScore:
        """The probability that the columns amount to.

        Raises
        ------
        FusionError
            `missing_column`
        """
        self.check(given)
        values = {name: self._constants.get(name, given.get(name, 0.0)) for name in self._spec.columns}
        row = np.array([list(values.values())], dtype=np.float64)
        probability = float(np.asarray(self._booster.predict(row, num_threads=1))[0])
        shares = np.asarray(self._booster.predict(row, pred_contrib=True, num_threads=1))[0]
        contributions = tuple(
            Contribution(name, float(value), float(share))
            for (name, value), share in zip(values.items(), shares[:-1], strict=True)
        )
        return FusedScore(probability, contributions)

    @property
    def _constants(self) -> dict[str, float]:
        return {name: constant.value for name, constant in self._spec.constant_columns.items()}


def _as_written(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]", "_", name)
