"""Lists of studies for a person who looks for some: filters, pages and counts over the newest work on each.

A study that was analysed again is one line; earlier work on it is counted, and found on its page. Uploads
whose study was never known have no study UID: each of them is a line of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

from sqlalchemy import ColumnElement, and_, exists, func, not_, or_, select
from sqlalchemy.orm import Session, aliased, sessionmaker

from dicom_node.answer_book import AnswerRecord, record_of
from dicom_node.ledger_records import WorkRecord, work_records
from dicom_node.ledger_tables import AnswerRow, DeliveryRow, WorkRow
from inference.study_result import Verdict

Group = Literal["working", "reported", "refused", "failing", "undelivered"]
GROUPS: tuple[Group, ...] = get_args(Group)
"""`undelivered` is not a state of its own: a destination still lacks the results of a study."""

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
    """One line: the newest work on a study, its answer where there is one, how often it was worked on."""

    record: WorkRecord
    answer: AnswerRecord | None
    works: int


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
        entries = (
            StudyEntry(record, answers.get(record.key), works.get(record.study_uid, 1)) for record in records
        )
        return StudyPage(tuple(entries), total)

    def counts(self) -> dict[Group, int]:
        """How many studies are in each group."""
        with self._session() as session:
            return {
                group: session.scalar(
                    select(func.count()).select_from(WorkRow).where(_condition(StudyFilter(group=group)))
                )
                or 0
                for group in GROUPS
            }


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
    """The row is the newest of its study."""
    later = aliased(WorkRow)
    newer = exists().where(later.study_uid == WorkRow.study_uid, later.number > WorkRow.number)
    return or_(WorkRow.study_uid == "", not_(newer))


def _in_group(group: Group) -> ColumnElement[bool]:
    if group == "working":
        return WorkRow.state.in_(_WORKING)
    if group == "undelivered":
        return exists().where(DeliveryRow.key == WorkRow.key, DeliveryRow.state == "failing")
    return WorkRow.state == group
