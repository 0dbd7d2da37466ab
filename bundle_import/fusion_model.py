"""A LightGBM model from text, or on request from a pickle, with its columns under the names of this node."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import joblib
import lightgbm

from bundle_import.checkpoint_file import Say, checked_size, trusted
from bundle_import.errors import ImportCode, ImportRefused
from inference.fusion import as_written
from models.manifest import ConstantColumn

_TEXT = b"tree\n"
_CONSTANT = re.compile(r"(?P<name>[^=]+)=(?P<value>[^:]+):(?P<reason>.*\S.*)")


@dataclass(frozen=True)
class ConstantRule:
    """A declaration that columns whose names match ``pattern`` are held at a value, and why that is right."""

    pattern: str
    value: float
    reason: str

    @staticmethod
    def parse(words: str) -> ConstantRule:
        """Read ``NAME=VALUE:REASON``; NAME may hold ``*``. ``ImportRefused`` (``bad_option``) otherwise."""
        match = _CONSTANT.fullmatch(words)
        try:
            if match is not None:
                return ConstantRule(match["name"].strip(), float(match["value"]), match["reason"].strip())
        except ValueError:
            pass  # not a number: refused below with the rest
        raise ImportRefused(
            ImportCode.BAD_OPTION,
            f"--constant {words!r}: NAME=VALUE:REASON is wanted, as 'kolyan_*=0:not used here'",
        )


@dataclass(frozen=True)
class FusionModel:
    """A LightGBM model of one probability; ``layout`` says what it was read from."""

    booster: lightgbm.Booster
    layout: str

    def text(self) -> str:
        """The model as LightGBM writes it."""
        return str(self.booster.model_to_string())


def read_fusion(path: Path, *, trust_pickle: bool, say: Say) -> FusionModel:
    """The model in a file of LightGBM text, or in a joblib or pickle dump of an LGBMClassifier or Booster.

    Raises
    ------
    ImportRefused
        ``no_such_file``, ``not_a_file``, ``empty_file``, ``needs_pickle``, ``not_a_fusion_model``
    """
    checked_size(path)
    with path.open("rb") as stream:
        is_text = stream.read(len(_TEXT) + 1).replace(b"\r\n", b"\n").startswith(_TEXT)
    if is_text:
        model = FusionModel(_from_text(path), "lightgbm_text")
    elif trust_pickle:
        trusted(path, say)
        model = FusionModel(_unpickled(path), "lightgbm_pickle")
    else:
        raise ImportRefused(
            ImportCode.NEEDS_PICKLE,
            f"{path.name} is not LightGBM text; a pickled model runs code when it is read. Save it as text"
            " where it was trained (model.booster_.save_model('fusion.txt')), or, if you trust whoever made"
            " this file, import it with --trust-pickle, which runs that code.",
        )
    objective = re.search(r"^objective=(.*)$", model.text(), re.MULTILINE)
    if objective is None or not objective.group(1).startswith(("binary", "cross_entropy")):
        raise ImportRefused(
            ImportCode.NOT_A_FUSION_MODEL,
            f"{path.name} does not give the probability of one class (its objective is"
            f" {objective.group(1) if objective else 'not named'})",
        )
    return model


def fusion_columns(names: Iterable[str], given: Collection[str]) -> tuple[str, ...]:
    """Our names of a model's columns.

    LightGBM writes underscores for what its text cannot hold; a name is that of the column which would be
    written so. A name that no column of the members has stays as it is.

    Raises
    ------
    ImportRefused
        ``fusion_columns`` if two columns would be written alike, or the model has one twice.
    """
    ours: dict[str, str] = {}
    for column in given:
        other = ours.setdefault(as_written(column), column)
        if other != column:
            raise ImportRefused(
                ImportCode.FUSION_COLUMNS,
                f"{other!r} and {column!r} cannot be told apart in a LightGBM model",
            )
    columns = tuple(ours.get(as_written(name), name) for name in names)
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        raise ImportRefused(
            ImportCode.FUSION_COLUMNS, f"the model has more than one column {', '.join(twice)}"
        )
    return columns


def constant_columns(
    columns: Sequence[str], given: Collection[str], rules: Sequence[ConstantRule]
) -> dict[str, ConstantColumn]:
    """A value and a reason for every column that no member gives.

    Raises
    ------
    ImportRefused
        ``fusion_columns``, naming the columns that no rule declares; ``bad_option`` for a rule that declares
        none.
    """
    absent = [column for column in columns if column not in given]
    used: Mapping[str, ConstantRule | None] = {
        column: next((rule for rule in rules if fnmatchcase(column, rule.pattern)), None) for column in absent
    }
    undeclared = [column for column, rule in used.items() if rule is None]
    if undeclared:
        raise ImportRefused(
            ImportCode.FUSION_COLUMNS,
            f"the fusion model wants {len(undeclared)} columns that no member of this bundle gives:"
            f" {', '.join(undeclared)}. Import the member that gives them, or declare each with"
            " --constant NAME=VALUE:REASON; every result then says so.",
        )
    idle = [rule.pattern for rule in rules if rule not in used.values()]
    if idle:
        raise ImportRefused(
            ImportCode.BAD_OPTION,
            f"--constant {', '.join(idle)}: the fusion model wants no such column, or a member gives it",
        )
    return {
        column: ConstantColumn(rule.value, rule.reason) for column, rule in used.items() if rule is not None
    }


def _from_text(path: Path) -> lightgbm.Booster:
    try:
        return lightgbm.Booster(model_file=str(path))
    except lightgbm.basic.LightGBMError as error:
        raise ImportRefused(
            ImportCode.NOT_A_FUSION_MODEL, f"{path.name} is no whole LightGBM model"
        ) from error


def _unpickled(path: Path) -> lightgbm.Booster:
    try:
        model: Any = joblib.load(path)
    except Exception as error:  # a pickle runs anything and so raises anything
        raise ImportRefused(
            ImportCode.NOT_A_FUSION_MODEL, f"{path.name} cannot be unpickled here ({type(error).__name__})"
        ) from error
    if isinstance(model, lightgbm.LGBMModel):
        model = model.booster_
    if not isinstance(model, lightgbm.Booster):
        raise ImportRefused(
            ImportCode.NOT_A_FUSION_MODEL,
            f"{path.name} holds a {type(model).__name__}; an LGBMClassifier or a Booster was expected",
        )
    return model
