"""Lines of the list of studies: what of a study's work is said at a glance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from dicom_node.answer_book import AnswerRecord
from dicom_node.ledger_records import WorkRecord
from dicom_node.study_list import StudyEntry
from dicom_node.web.figures import duration
from dicom_node.web.pages import PERCENT, Pages
from dicom_node.web.patient import Patient
from structured_report.percentage import percentage


@dataclass(frozen=True)
class Bar:
    """A probability as a bar: `value` in words of a percentage, `fill` and `point` in percent of its length.

    `kind` says how it is coloured: a verdict, or `present` and `absent` of a finding.
    """

    value: str
    fill: float
    point: float
    point_value: str
    kind: str


@dataclass(frozen=True)
class Line:
    """One line; `why` says why there is no answer, `deliveries` how many of how many are done.

    `waiting` is the time until it ended, or that has passed so far.
    """

    key: str
    study_uid: str
    state: str
    bar: Bar | None
    finding: str
    others: int
    why: str
    next_try: str
    patient: Patient | None
    received: datetime
    waiting: str
    ended: bool
    rejected: bool
    works: int
    deliveries: tuple[int, int]
    undelivered: bool


def bar(probability: float, operating_point: float, kind: str) -> Bar:
    """The bar of a probability (0 to 1)."""
    return Bar(
        value=percentage(probability, operating_point),
        fill=round(PERCENT * probability, 2),
        point=round(PERCENT * operating_point, 2),
        point_value=f"{PERCENT * operating_point:.1f}",
        kind=kind,
    )


def line(pages: Pages, entry: StudyEntry, who: Mapping[str, Patient], now: datetime) -> Line:
    """The line of an entry."""
    record, words = entry.record, pages.words
    answer = entry.answer if record.state == "reported" else None
    done = sum(item.state == "delivered" for item in record.deliveries)
    return Line(
        key=record.key,
        study_uid=record.study_uid,
        state=record.state,
        bar=bar(answer.probability, answer.operating_point, answer.verdict) if answer is not None else None,
        finding=_finding(pages, answer),
        others=answer.others if answer is not None else 0,
        why=_why(pages, record),
        next_try=_next_try(pages, record),
        patient=who.get(record.study_uid),
        received=record.created_at,
        waiting=duration((record.ended_at or now) - record.created_at, words),
        ended=record.ended,
        rejected=entry.rejected,
        works=entry.works,
        deliveries=(done, len(record.deliveries)),
        undelivered=any(item.state == "failing" for item in record.deliveries),
    )


def _finding(pages: Pages, answer: AnswerRecord | None) -> str:
    if answer is None:
        return ""
    if not answer.finding:
        return pages.words("studies.no_finding")
    return pages.words.known("finding", answer.finding)


def _why(pages: Pages, record: WorkRecord) -> str:
    if record.state == "refused" and record.code is not None:
        return pages.words.known("refusal", record.code)
    return pages.words.recorded(record.error or "").text if record.state == "failing" else ""


def _next_try(pages: Pages, record: WorkRecord) -> str:
    if record.state != "failing" or record.next_attempt_at is None:
        return ""
    return pages.words("studies.next_try", time=pages.moment(record.next_attempt_at))
