"""Lists of studies for a person who looks for some: filters, pages and counts over the newest work on each.

A study that was analysed again is one line; earlier work on it is counted, and found on its page. Uploads
whose study was never known have no study UID: each of them is a line of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

from sqlalchemy import ColumnElement, and_, func, or_, select, union_all
from sqlalchemy.orm import Session, aliased, sessionmaker

from dicom_node.answer_book import AnswerRecord, record_of
from dicom_node.ledger_records import WorkRecord, work_records
from dicom_node.ledger_tables import AnswerRow, DeliveryRow, FeedbackRow, WorkRow
from inference.study_result import Verdict

Group = Literal["working", "reported", "refused", "failing", "undelivered", "rejected"]
GROUPS: tuple[Group, ...] = get_args(Group)
"""The last two are no states: a destination still lacks the results of a study; a person rejected its results
or its images."""

_WORKING = ("queued", "fetching", "analysing", "reporting", "storing")


@dataclass(frozen=True)
class StudyFilter:
    """What a person looks for; a field at its default does not narrow the list.

    Attributes
    ----------
    group, verdict
        State, and what the answer amounts to.
    since, before
        First moment, and the first moment that is too late, of the time of arrival.
    uid_part
        A part of the Study Instance UID.
    uids
        Only these studies (found elsewhere, for instance by accession number in the archive).
    """

    group: Group | None = None
    verdict: Verdict | None = None
    since: datetime | None = None
    before: datetime | None = None
    uid_part: str = ""
    uids: tuple[str, ...] | None = None


@dataclass(frozen=True)
class StudyEntry:
    """One line: the newest work on a study, its answer where there is one, how often it was worked on.

    `rejected`: a person rejected its results, or images of the study.
    """

    record: WorkRecord
    answer: AnswerRecord | None
    works: int
    rejected: bool


@dataclass(frozen=True)
class StudyPage:
    """A page of a list, newest first; `total` counts the lines of all pages."""

    entries: tuple[StudyEntry, ...]
    total: int


class StudyList:
    """Reads only."""

    def __init__(self, session: sessionmaker[Session]) -> None:
        self._session = session

    def page(self, wanted: StudyFilter, number: int, size: int) -> StudyPage:
        """Page `number` (from 1) of the studies that are wanted, `size` to a page."""
        condition = _condition(wanted)
        rows = (
            select(WorkRow)
            .where(condition)
            .order_by(WorkRow.number.desc())
            .limit(size)
            .offset((number - 1) * size)
        )
        with self._session() as session:
            total = session.scalar(select(func.count()).select_from(WorkRow).where(condition)) or 0
            records = work_records(session, session.scalars(rows).all())
            answers = _answers(session, [record.key for record in records])
            works = _works(session, {record.study_uid for record in records} - {""})
            rejected = _rejected(session, [record.key for record in records])
        entries = (
            StudyEntry(
                record, answers.get(record.key), works.get(record.study_uid, 1), record.key in rejected
            )
            for record in records
        )
        return StudyPage(tuple(entries), total)

    def retried(self, most: int) -> list[WorkRecord]:
        """Work that failed and is to be tried again, what failed last first."""
        rows = (
            select(WorkRow)
            .where(WorkRow.state == "failing", WorkRow.ended_at.is_(None))
            .order_by(WorkRow.updated_at.desc())
            .limit(most)
        )
        with self._session() as session:
            return work_records(session, session.scalars(rows).all())

    def counts(self) -> dict[Group, int]:
        """How many studies are in each group."""
        of_state = select(WorkRow.state, func.count()).where(_newest()).group_by(WorkRow.state)
        with self._session() as session:
            states = {state: int(count) for state, count in session.execute(of_state)}
            counts: dict[Group, int] = {group: states.get(group, 0) for group in GROUPS}
            counts["working"] = sum(states.get(state, 0) for state in _WORKING)
            for group in ("undelivered", "rejected"):
                among = select(func.count()).select_from(WorkRow).where(_newest(), _in_group(group))
                counts[group] = session.scalar(among) or 0
        return counts


def _answers(session: Session, keys: list[str]) -> dict[str, AnswerRecord]:
    rows = session.scalars(select(AnswerRow).where(AnswerRow.key.in_(keys)))
    return {row.key: record_of(row) for row in rows}


def _works(session: Session, study_uids: set[str]) -> dict[str, int]:
    query = (
        select(WorkRow.study_uid, func.count())
        .where(WorkRow.study_uid.in_(study_uids))
        .group_by(WorkRow.study_uid)
    )
    return {study_uid: int(count) for study_uid, count in session.execute(query)}


def _rejected(session: Session, keys: list[str]) -> set[str]:
    return set(session.scalars(select(WorkRow.key).where(WorkRow.key.in_(keys), _in_group("rejected"))))


def _condition(wanted: StudyFilter) -> ColumnElement[bool]:
    conditions = [_newest()]
    if wanted.group is not None:
        conditions.append(_in_group(wanted.group))
    if wanted.verdict is not None:
        with_verdict = select(AnswerRow.key).where(AnswerRow.verdict == wanted.verdict)
        # An answer that is not reported yet is no answer to anybody.
        conditions += [WorkRow.state == "reported", WorkRow.key.in_(with_verdict)]
    if wanted.since is not None:
        conditions.append(WorkRow.created_at >= wanted.since.timestamp())
    if wanted.before is not None:
        conditions.append(WorkRow.created_at < wanted.before.timestamp())
    if wanted.uid_part:
        conditions.append(WorkRow.study_uid.contains(wanted.uid_part, autoescape=True))
    if wanted.uids is not None:
        conditions.append(WorkRow.study_uid.in_(wanted.uids))
    return and_(*conditions)


def _newest() -> ColumnElement[bool]:
    """The row is the newest of its study.

    Rows are large (each holds its plan), and reading them takes long; so the numbers of those that are the
    newest come from an index alone, and a sum in place of the column keeps SQLite from fetching each of
    these rows by its number.
    """
    row = aliased(WorkRow)
    of_studies = select(func.max(row.number)).where(row.study_uid != "").group_by(row.study_uid)
    of_unknown = select(row.number).where(row.study_uid == "")
    return (WorkRow.number + 0).in_(union_all(of_studies, of_unknown))


def _in_group(group: Group) -> ColumnElement[bool]:
    if group == "working":
        return WorkRow.state.in_(_WORKING)
    if group == "undelivered":
        return WorkRow.key.in_(select(DeliveryRow.key).where(DeliveryRow.state == "failing"))
    if group == "rejected":
        results = select(FeedbackRow.key).where(FeedbackRow.key != "")
        images = select(FeedbackRow.study_uid).where(FeedbackRow.key == "")
        return or_(WorkRow.key.in_(results), WorkRow.study_uid.in_(images))
    return WorkRow.state == group
