"""Every word that a page shows, in each language, from one catalogue (`words.toml`)."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, get_args

from dicom_node.settings import Settings
from structured_report.language import Language, Sentence
from structured_report.language import Words as ReportWords
from structured_report.plural import fill

LANGUAGES: tuple[Language, ...] = get_args(Language)


@dataclass(frozen=True)
class Words:
    """The catalogue in one language: `words("studies.title")`; values are put into `{name}`, and
    `{name|срез|среза|срезов}` is the form that goes with a number."""

    language: Language

    def __call__(self, key: str, **values: object) -> str:
        """The words of a key. KeyError where the catalogue has none."""
        return fill(catalogue()[key][self.language], values)

    def known(self, group: str, name: str) -> str:
        """The words of `group.name`; where there are none, the name as it is.

        For names that others bring: findings of a bundle, stages, codes. Findings and measurements are
        called as in the reports.
        """
        if group in {"finding", "measurement"}:
            return self.of_reports.finding(name)
        entry = catalogue().get(f"{group}.{name}")
        return entry[self.language] if entry is not None else name

    def recorded(self, text: object) -> Sentence:
        """What the node or the analysis recorded, as reports say it; English where nobody translated it."""
        return self.of_reports.of_analysis(str(text))

    @property
    def of_reports(self) -> ReportWords:
        """The words of the reports in the same language."""
        return ReportWords(self.language)


def page_words(settings: Settings) -> Words:
    """The words of the language that the settings want for pages."""
    return Words(settings.web.language or settings.report.language)


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
