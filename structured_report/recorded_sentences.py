"""Sentences that are recorded in English, in Russian: results, ledger and log stay English, readers need not.

`recorded_sentences.toml` holds every pair, and says how its braces are written. A sentence is translated
whole or not at all.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import resources

from structured_report.plural import fill

_PLACEHOLDER = re.compile(r"\{(\w+)(?::(words|text))?\}")
_NUMBER = r"[-+]?\d+(?:[.,]\d+)*(?:e[-+]?\d+)?|inf|nan"
_BETWEEN = re.compile(r"(, | and )")

Name = Callable[[str], str | None]
"""The Russian of a finding or quantity, None where nobody translated it."""


@dataclass(frozen=True)
class SentencePair:
    """A sentence in both languages; `kinds` says of each brace whether it holds a number, words or text."""

    english: str
    russian: str
    pattern: re.Pattern[str]
    kinds: dict[str, str]


def russian_sentence(text: str, name: Name) -> str | None:
    """The Russian of a recorded sentence; None where it, or a part of it, has none."""
    for pair in sentence_pairs():
        found = pair.pattern.fullmatch(text)
        if found is None:
            continue
        filled = {key: _part(value, pair.kinds[key], name) for key, value in found.groupdict().items()}
        said = {key: value for key, value in filled.items() if value is not None}
        if len(said) == len(filled):
            return fill(pair.russian, said)
    return None


def _part(value: str, kind: str, name: Name) -> str | None:
    """What stands in a brace; None where it must be translated and cannot be."""
    if kind == "number":
        return value
    whole = _known(value, name)
    if whole is not None:
        return whole
    parts = [{", ": ", ", " and ": " и "}.get(part) or _known(part, name) for part in _BETWEEN.split(value)]
    known = [part for part in parts if part is not None]
    if len(known) == len(parts):
        return "".join(known)
    return value if kind == "text" else None


def _known(value: str, name: Name) -> str | None:
    if re.fullmatch(_NUMBER, value):
        return value
    return words_in_braces().get(value) or name(value) or russian_sentence(value, name)


@cache
def sentence_pairs() -> tuple[SentencePair, ...]:
    """Every pair; those with most text of their own come first, since they say most exactly what is meant."""
    pairs: dict[str, str] = _table()["sentences"]
    ranked = sorted(pairs.items(), key=lambda pair: -len(_PLACEHOLDER.sub("", pair[0])))
    return tuple(_pair(english, russian) for english, russian in ranked)


def words_in_braces() -> dict[str, str]:
    """Words and phrases that stand in the braces of sentences."""
    return _table()["words"]


def _pair(english: str, russian: str) -> SentencePair:
    pattern, kinds, end = "", {}, 0
    for found in _PLACEHOLDER.finditer(english):
        name, kind = found[1], found[2] or "number"
        kinds[name] = kind
        pattern += re.escape(english[end : found.start()])
        pattern += f"(?P<{name}>{_NUMBER if kind == 'number' else '.+?'})"
        end = found.end()
    return SentencePair(english, russian, re.compile(pattern + re.escape(english[end:]), re.DOTALL), kinds)


@cache
def _table() -> dict[str, dict[str, str]]:
    data = resources.files("structured_report").joinpath("recorded_sentences.toml")
    return tomllib.loads(data.read_text(encoding="utf-8"))
