"""What a report says, in the language that it is written in; `languages.toml` holds every word of it.

The analysis and the bundle write English. Their sentences are translated by pattern; one that has no pair
stays English, and the report marks it as English (TID 1204 below the sentence).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal

from pydicom.dataset import Dataset

Language = Literal["en", "ru"]

_LO_BYTES = 64
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


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
        return template.format(**values)

    def of_analysis(self, text: str) -> Sentence:
        """A sentence of the analysis or of the bundle; English where it has no pair in the data file."""
        if self.language == "en":
            return Sentence(text, "en")
        for pattern, template in _pairs():
            found = pattern.fullmatch(text)
            if found:
                filled = {name: self._filled(value) for name, value in found.groupdict().items()}
                return Sentence(template.format(**filled), self.language)
        return Sentence(text, "en")

    def finding(self, name: str) -> str:
        """The name of a finding or of a quantity; as the bundle writes it where nobody translated it."""
        return name if self.language == "en" else str(_table()["russian"]["findings"].get(name, name))

    def unit(self, ucum: str) -> str:
        """A UCUM unit as people write it."""
        key = {"[hnsf'U]": "hounsfield", "mL": "millilitres"}.get(ucum)
        return ucum if key is None else self.sentence(key)

    def meaning(self, scheme: str, value: str, meaning: str) -> str:
        """The meaning of a code; `meaning`, the English one, where nobody translated it."""
        if self.language == "en":
            return meaning
        return str(_table()["russian"]["meanings"].get(f"{scheme} {value}", meaning))

    def _filled(self, value: str) -> str:
        words: dict[str, str] = _table()["russian"]["words"]
        return ", ".join(words.get(part, self.finding(part)) for part in value.split(", "))


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


@cache
def _pairs() -> tuple[tuple[re.Pattern[str], str], ...]:
    """Each sentence of the analysis as a pattern, and its Russian; those with most text come first."""
    pairs: list[dict[str, str]] = _table()["russian"]["analysis"]
    ranked = sorted(pairs, key=lambda pair: -len(_PLACEHOLDER.sub("", pair["en"])))
    return tuple((_pattern(pair["en"]), pair["ru"]) for pair in ranked)


def _pattern(sentence: str) -> re.Pattern[str]:
    parts = _PLACEHOLDER.split(sentence)  # text, name, text, name, ...
    return re.compile(
        "".join(f"(?P<{part}>.+?)" if place % 2 else re.escape(part) for place, part in enumerate(parts)),
        re.DOTALL,
    )
