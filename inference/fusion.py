"""The fusion: named columns in the model's order, LightGBM, one probability and what moved it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
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
    """Probability 0 to 1 before any calibration; every column's value and contribution to its log-odds."""

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
        different = [column for name, column in pairs if as_written(name) != as_written(column)]
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
        """A sentence for every column of the model that the bundle declares constant."""
        declared = self._spec.constant_columns
        return tuple(
            f"The fusion column {name} is held at {declared[name].value:g}: {declared[name].reason}"
            for name in self._spec.columns
            if name in declared
        )

    def check(self, given: Collection[str]) -> None:
        """Raise `FusionError` (`missing_column`) unless every column is given or declared constant."""
        declared = self._spec.constant_columns
        missing = [name for name in self._spec.columns if name not in given and name not in declared]
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
        declared = self._spec.constant_columns
        values = {
            name: declared[name].value if name in declared else given[name] for name in self._spec.columns
        }
        row = np.array([list(values.values())], dtype=np.float64)
        probability = float(np.asarray(self._booster.predict(row, num_threads=1))[0])
        shares = np.asarray(self._booster.predict(row, pred_contrib=True, num_threads=1))[0]
        contributions = tuple(
            Contribution(name, float(value), float(share))
            for (name, value), share in zip(values.items(), shares[:-1], strict=True)
        )
        return FusedScore(probability, contributions)


def as_written(name: str) -> str:
    """A column's name as LightGBM's text holds it, or nearly: the form in which names are compared."""
    return re.sub(r"[^A-Za-z0-9]", "_", name)
