"""The lists of labels that come with the node, and lists that somebody brings."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from bundle_import.errors import ImportCode, ImportRefused

SUPERVISED_15, CT_RATE_18, ORIGINAL_55 = "supervised_15", "ct_rate_18", "original_55"
PROMPT_LISTS = (CT_RATE_18, ORIGINAL_55)
"""The lists that `--prompts` knows by name."""

UNRANKED = 0
"""Severity of a label that no list ranks: below every other."""


@dataclass(frozen=True)
class Label:
    """A label, its severity (10 high, 1 low, 0 unknown) and whether it stands for findings of any kind."""

    name: str
    severity: int
    umbrella: bool = False


@dataclass(frozen=True)
class LabelList:
    """Labels in the order of a network's answers, and groups of them by name for the fusion's columns."""

    labels: tuple[Label, ...]
    groups: Mapping[str, tuple[str, ...]]
    source: str

    @property
    def names(self) -> tuple[str, ...]:
        """The labels' names."""
        return tuple(label.name for label in self.labels)


@lru_cache
def shipped_lists() -> dict[str, LabelList]:
    """The lists in ``prompt_lists.toml`` by name."""
    table = tomllib.loads(files(__package__).joinpath("prompt_lists.toml").read_text(encoding="utf-8"))
    return {
        name: LabelList(
            tuple(Label(**label) for label in entry["labels"]),
            {group: tuple(labels) for group, labels in entry.get("groups", {}).items()},
            entry["source"],
        )
        for name, entry in table.items()
    }


def prompt_list(name_or_file: str) -> LabelList:
    """A shipped list by name, or the labels in a text file, one a line; `#` begins a remark.

    Raises
    ------
    ImportRefused
        ``no_such_file``, ``bad_labels``
    """
    if name_or_file in PROMPT_LISTS:
        return shipped_lists()[name_or_file]
    path = Path(name_or_file)
    if not path.is_file():
        raise ImportRefused(
            ImportCode.NO_SUCH_FILE,
            f"--prompts {name_or_file}: neither one of {', '.join(PROMPT_LISTS)} nor a file",
        )
    try:
        lines = [line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except UnicodeDecodeError as error:
        raise ImportRefused(ImportCode.BAD_LABELS, f"{path} is not text in UTF-8") from error
    return ranked([line for line in lines if line], f"--prompts {path}")


def ranked(names: Sequence[str], origin: str) -> LabelList:
    """Labels with the severities of the shipped lists, and with those groups whose labels are all among them.

    ``origin`` is what an error calls the labels. Raises ``ImportRefused`` (``bad_labels``) if there are
    none or one is there twice.
    """
    if not names or len(set(names)) != len(names):
        raise ImportRefused(ImportCode.BAD_LABELS, f"{origin}: no labels, or one of them twice")
    known = {label.name: label for entry in shipped_lists().values() for label in entry.labels}
    groups = {
        group: labels
        for entry in shipped_lists().values()
        for group, labels in entry.groups.items()
        if set(labels) <= set(names)
    }
    return LabelList(tuple(known.get(name, Label(name, UNRANKED)) for name in names), groups, origin)


def head_labels(number: int, brought: Sequence[str], otherwise: str) -> LabelList:
    """The labels of a trained head of ``number`` logits: those of its checkpoint, else a shipped list.

    Raises
    ------
    ImportRefused
        ``bad_labels`` if their number is not that of the logits.
    """
    origin = "target_pathologies of the checkpoint" if brought else f"the list {otherwise}"
    labels = ranked(brought, origin) if brought else shipped_lists()[otherwise]
    if len(labels.labels) != number:
        raise ImportRefused(
            ImportCode.BAD_LABELS,
            f"the head gives {number} logits and {origin} has {len(labels.labels)} labels; a checkpoint with"
            " other labels must name them under target_pathologies",
        )
    return labels
