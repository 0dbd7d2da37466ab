"""Every word that a page shows, in each language, from one catalogue (`words.toml`)."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, get_args

from structured_report.language import Language
from structured_report.language import Words as ReportWords

LANGUAGES: tuple[Language, ...] = get_args(Language)


@dataclass(frozen=True)
class Words:
    """The catalogue in one language: `words("studies.title")`; values are put into `{name}`."""

    language: Language

    def __call__(self, key: str, **values: object) -> str:
        """The words of a key. KeyError where the catalogue has none."""
        return catalogue()[key][self.language].format(**values)

    def known(self, group: str, name: str, otherwise: str | None = None) -> str:
        """The words of `group.name`; where there are none, `otherwise`, or the name as it is.

        For names that others bring: findings of a bundle, stages, reasons. Findings and measurements are
        called as in the reports.
        """
        if group in {"finding", "measurement"}:
            named = ReportWords(self.language).finding(name)
            return named if named != name or otherwise is None else otherwise
        entry = catalogue().get(f"{group}.{name}")
        if entry is not None:
            return entry[self.language]
        return name if otherwise is None else otherwise


@cache
def catalogue() -> Mapping[str, Mapping[str, str]]:
    """Words by key ("group.name") and language."""
    text = resources.files("dicom_node.web").joinpath("words.toml").read_text(encoding="utf-8")
    return dict(_flat(tomllib.loads(text)))


def _flat(tree: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, Mapping[str, str]]]:
    if set(tree) == set(LANGUAGES):
        yield ".".join(path), tree
        return
    for name, value in tree.items():
        yield from _flat(value, (*path, name))
