"""What a report says, in the language that it is written in; `languages.toml` holds every word of it.

The analysis, the bundle and the node record English. Their sentences are translated by pattern
(`recorded_sentences`); one that has no pair stays English, and the reader is told so (a report by TID 1204
below the sentence, a page by the language of the element).
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal

from pydicom.dataset import Dataset

from structured_report.plural import fill
from structured_report.recorded_sentences import russian_sentence

Language = Literal["en", "ru"]

_LO_BYTES = 64


@dataclass(frozen=True)
class Sentence:
    """A sentence and the language that it is in."""

    text: str
    language: Language


@dataclass(frozen=True)
class Words:
    """Every word of a report in one language."""

    language: Language = "en"

    def sentence(self, key: str, **values: object) -> str:
        """The report's own sentence of that key, with values in its braces."""
        template: str = _table()["sentences"][key][self.language]
        return fill(template, values)

    def of_analysis(self, text: str) -> Sentence:
        """A sentence that is recorded in English; it stays so where it has no pair in the data file."""
        if self.language == "en":
            return Sentence(text, "en")
        russian = russian_sentence(text, _table()["russian"]["findings"].get)
        return Sentence(text, "en") if russian is None else Sentence(russian, self.language)

    def finding(self, name: str) -> str:
        """The name of a finding or of a quantity; as the bundle writes it where nobody translated it."""
        return name if self.language == "en" else str(_table()["russian"]["findings"].get(name, name))

    def column(self, name: str) -> str:
        """A column of the fusion model, "member_label", in words; as it is where no member is named so."""
        member, divided, label = name.partition("_")
        members = _table()["members"]
        if not divided or member not in members:
            return self.finding(name)
        named = self.finding(label)
        return f"{members[member][self.language]}: {named if named != label else label.replace('_', ' ')}"

    def member(self, name: str) -> str:
        """A member of the ensemble, or one of its columns, where several of them are about one finding."""
        members = _table()["members"]
        return str(members[name][self.language]) if name in members else self.column(name)

    def unit(self, ucum: str) -> str:
        """A UCUM unit as people write it."""
        key = {"[hnsf'U]": "hounsfield", "mL": "millilitres"}.get(ucum)
        return ucum if key is None else self.sentence(key)

    def meaning(self, scheme: str, value: str, meaning: str) -> str:
        """The meaning of a code; `meaning`, the English one, where nobody translated it."""
        if self.language == "en":
            return meaning
        return str(_table()["russian"]["meanings"].get(f"{scheme} {value}", meaning))


def short(text: str) -> str:
    """The text in at most 64 bytes of UTF-8: the standard counts characters of an LO, some readers bytes."""
    return text.encode()[:_LO_BYTES].decode(errors="ignore").rstrip()


def translate_meanings(item: Dataset, words: Words, names: dict[str, str]) -> None:
    """Put every code meaning of a content item and its descendants into the language of `words`, in place.

    `names` gives the words for private codes that are derived from a name, by their value.
    """
    if words.language == "en":
        return
    for code in _codes(item):
        value, scheme = code.get("CodeValue", ""), code.CodingSchemeDesignator
        code.CodeMeaning = names.get(value) or words.meaning(scheme, value, code.CodeMeaning)


def _codes(item: Dataset) -> Iterator[Dataset]:
    """The codes of a content item and its descendants."""
    yield from item.get("ConceptNameCodeSequence", [])
    yield from item.get("ConceptCodeSequence", [])
    for measured in item.get("MeasuredValueSequence", []):
        yield from measured.get("MeasurementUnitsCodeSequence", [])
    for child in item.get("ContentSequence", []):
        yield from _codes(child)


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(
        resources.files("structured_report").joinpath("languages.toml").read_text(encoding="utf-8")
    )
