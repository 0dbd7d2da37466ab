"""The stages of a study's work as bars in the order in which they were done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dicom_node.web.pages import PERCENT
from dicom_node.web.words import Words

_BEFORE = ("queue", "fetch")
_AFTER = ("report", "store")


@dataclass(frozen=True)
class StageBar:
    """A stage: seconds, and where its bar begins and how long it is, in percent of the whole."""

    name: str
    seconds: float
    start: float
    length: float


def stage_bars(seconds: Mapping[str, float], analysis: Mapping[str, float], words: Words) -> list[StageBar]:
    """One bar for each stage that is over.

    Parameters
    ----------
    seconds
        Of each stage, as the ledger has them.
    analysis
        Those of the analysis in their order; empty while there is no result.
    """
    inside = [name for name in analysis if name in seconds]
    sent = sorted(name for name in seconds if ":" in name)
    others = sorted(set(seconds) - {*_BEFORE, *_AFTER, *inside, *sent})
    spans: list[tuple[str, float, float]] = []
    at = 0.0
    for name in (*_BEFORE, *inside, *others, *_AFTER):
        if name in seconds:
            spans.append((name, at, seconds[name]))
            at += seconds[name]
    # Destinations are served side by side; the originals of one follow its results.
    for name in sent:
        kind, _, destination = name.partition(":")
        results_first = seconds.get(f"deliver:{destination}", 0.0) if kind == "originals" else 0.0
        spans.append((name, at + results_first, seconds[name]))
    whole = max((start + length for _, start, length in spans), default=0.0) or 1.0
    return [
        StageBar(_name(name, words), length, PERCENT * start / whole, PERCENT * length / whole)
        for name, start, length in spans
    ]


def _name(stage: str, words: Words) -> str:
    kind, divided, destination = stage.partition(":")
    if divided and kind in {"deliver", "originals"}:
        return words(f"stage.{kind}", name=destination)
    return words.known("stage", stage)
