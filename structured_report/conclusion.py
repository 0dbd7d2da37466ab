"""The answer in sentences, as every object says it."""

from __future__ import annotations

from inference.study_result import StudyResult
from structured_report.language import Words
from structured_report.percentage import percentage
from structured_report.reading_order import in_reading_order

_WEIGHTIEST_COLUMNS = 3


def conclusion(result: StudyResult, words: Words) -> str:
    """The answer about the study: probability, verdict, findings, the most dangerous of them."""
    present = [finding for finding in in_reading_order(result.findings) if finding.present]
    named = ", ".join(
        f"{words.finding(finding.name)} ({percentage(finding.probability, finding.operating_point)} %)"
        for finding in present
    )
    sentences = [
        words.sentence(
            "probability",
            probability=percentage(result.probability, result.operating_point),
            point=f"{100 * result.operating_point:.1f}",
            verdict=_verdict(result, words),
        ),
        words.sentence("above", findings=named or words.sentence("none")),
        words.sentence("below", number=len(result.findings) - len(present)),
    ]
    if result.most_dangerous is not None:
        sentences.append(words.sentence("most_dangerous", finding=words.finding(result.most_dangerous)))
    return " ".join(sentences)


def _verdict(result: StudyResult, words: Words) -> str:
    state = words.sentence("present" if result.decision else "absent")
    if result.verdict != "indeterminate":
        return state
    band = result.indeterminate
    limits = ""
    if band is not None:
        limits = words.sentence("limits", low=f"{100 * band.low:.1f}", high=f"{100 * band.high:.1f}")
    return words.sentence("indeterminate", limits=limits, state=state)


def weightiest(result: StudyResult, words: Words) -> list[str]:
    """The fusion columns that moved the study's log-odds most; empty without a fusion model."""
    ranked = sorted(result.contributions, key=lambda item: -abs(item.contribution))[:_WEIGHTIEST_COLUMNS]
    if not ranked:
        return []
    named = "; ".join(
        f"{words.column(item.column)} = {item.value:.3f} ({item.contribution:+.2f})" for item in ranked
    )
    return [words.sentence("weightiest", scores=named)]
