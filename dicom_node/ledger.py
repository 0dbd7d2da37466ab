"""The record of every study: state, reason, seconds of each stage, deliveries, objects.

SQLite in the data folder or PostgreSQL, by URL. Every study ends in one state that a person can see:
reported, refused (code, sentence, remedy) or failing and being retried; none is ever silently dropped.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from sqlalchemy import ColumnElement, and_, delete, func, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm import sessionmaker

from dicom_node.answer_book import AnswerBook
from dicom_node.archive_memory import ArchiveMemory
from dicom_node.delivery_book import DeliveryBook
from dicom_node.errors import SiteProblem
from dicom_node.feedback_book import FeedbackBook
from dicom_node.ledger_database import create_tables, database_words, open_engine
from dicom_node.ledger_records import (
    NOT_EXAMINED,
    PURPOSES,
    NewWork,
    Purpose,
    State,
    WorkRecord,
    work_records,
)
from dicom_node.ledger_tables import StageRow, Table, WorkRow
from dicom_node.object_book import ObjectBook
from dicom_node.plan import WorkPlan
from dicom_node.study_list import StudyList
from dicom_node.worker_roll import WorkerRoll
from inference.errors import Refusal


class Ledger:
    """The ledger in the database at `url` (SQLAlchemy's form, with its password if it has one).

    In the same database: `memory`, what the intake remembers of the archive; `objects`, what was made of each
    key; `deliveries`, what each destination got; `workers`, which processes live; `feedback`, what was
    rejected; `answers`, the answers in short; `studies`, lists of studies for a person who looks for some.

    Raises
    ------
    SiteProblem
        If the database cannot be used.
    """

    def __init__(self, url: str) -> None:
        try:
            self._engine = open_engine(url)
            create_tables(self._engine, Table.metadata)
        except (SQLAlchemyError, ImportError) as error:
            raise SiteProblem(f"the ledger's database cannot be used: {database_words(error)}") from error
        self._session = sessionmaker(self._engine, expire_on_commit=False)
        self.memory = ArchiveMemory(self._session)
        self.objects = ObjectBook(self._session)
        self.deliveries = DeliveryBook(self._session)
        self.workers = WorkerRoll(self._session)
        self.feedback = FeedbackBook(self._session)
        self.answers = AnswerBook(self._session)
        self.studies = StudyList(self._session)

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    def add(self, work: NewWork, refusal: Refusal | None = None, *, to_tell: bool = False) -> bool:
        """Enter a key as queued, or as refused at once; False, and nothing changes, where it is known.

        A refusal `to_tell` is queued with its reason: objects are to be made of it first.
        """
        now = time.time()
        row = WorkRow(
            key=work.key,
            study_uid=work.plan.study_uid,
            series_uid=work.plan.series_uid,
            source=work.source,
            orthanc_id=work.orthanc_id,
            upload_folder=str(work.upload_folder) if work.upload_folder is not None else None,
            upload_name=work.upload_name,
            purpose=work.purpose,
            attempt=work.attempt,
            predecessor=work.predecessor,
            images=work.images,
            plan=work.plan.to_json(),
            state="queued",
            created_at=now,
            updated_at=now,
        )
        if refusal is not None:
            row.code, row.sentence, row.remedy = refusal.code.value, refusal.sentence, refusal.remedy
        if refusal is not None and not to_tell:
            row.state, row.ended_at = "refused", now
        try:
            with self._session.begin() as session:
                session.add(row)
        except IntegrityError:
            return False
        return True

    def work(self, key: str) -> WorkRecord | None:
        """The row of a key."""
        with self._session() as session:
            row = session.scalar(select(WorkRow).where(WorkRow.key == key))
            return work_records(session, [row])[0] if row is not None else None

    def known(self, key: str) -> WorkRecord:
        """The row of a key. KeyError where there is none."""
        record = self.work(key)
        if record is None:
            raise KeyError(key)
        return record

    def plan(self, key: str) -> WorkPlan:
        """What is to be analysed under a key. KeyError where there is none."""
        with self._session() as session:
            data = session.scalar(select(WorkRow.plan).where(WorkRow.key == key))
        if data is None:
            raise KeyError(key)
        return WorkPlan.from_json(data)

    def recent(self, limit: int = 100, study_uid: str | None = None) -> list[WorkRecord]:
        """The newest rows first, of one study or of all."""
        query = select(WorkRow).order_by(WorkRow.number.desc()).limit(limit)
        if study_uid is not None:
            query = query.where(WorkRow.study_uid == study_uid)
        with self._session() as session:
            return work_records(session, session.scalars(query).all())

    def latest(self, study_uid: str, images: str | None = None) -> WorkRecord | None:
        """The newest row of a study in the archive, or of just these images: what a new one would succeed."""
        query = select(WorkRow).where(
            WorkRow.study_uid == study_uid, WorkRow.purpose == "archive", WorkRow.images != NOT_EXAMINED
        )
        if images is not None:
            query = query.where(WorkRow.images == images)
        with self._session() as session:
            row = session.scalar(query.order_by(WorkRow.number.desc()).limit(1))
            return work_records(session, [row])[0] if row is not None else None

    def unexamined(self, orthanc_id: str) -> str | None:
        """Key of the row that stands for a study that could not be examined yet."""
        query = select(WorkRow.key).where(WorkRow.orthanc_id == orthanc_id, WorkRow.images == NOT_EXAMINED)
        with self._session() as session:
            return session.scalar(query)

    def unfinished(self) -> list[WorkRecord]:
        """Rows that did not end, oldest first."""
        query = select(WorkRow).where(_not_ended()).order_by(WorkRow.number)
        with self._session() as session:
            return work_records(session, session.scalars(query).all())

    def counts(self) -> dict[str, int]:
        """How many rows are in each state."""
        query = select(WorkRow.state, func.count()).group_by(WorkRow.state)
        with self._session() as session:
            return {state: int(count) for state, count in session.execute(query)}

    def backlog(self) -> dict[str, int]:
        """How many rows that did not end are in each state."""
        query = select(WorkRow.state, func.count()).where(_not_ended()).group_by(WorkRow.state)
        with self._session() as session:
            return {state: int(count) for state, count in session.execute(query)}

    def stage_totals(self) -> dict[str, tuple[int, float]]:
        """How often each stage was done, and its seconds in all."""
        query = select(StageRow.stage, func.count(), func.sum(StageRow.seconds)).group_by(StageRow.stage)
        with self._session() as session:
            return {stage: (count, float(seconds)) for stage, count, seconds in session.execute(query)}

    def enter(self, key: str, state: State) -> None:
        """The key's work goes on in `state`."""
        self._change(key, state=state, next_attempt_at=None)

    def reported(self, key: str, purpose: Purpose) -> bool:
        """All that `purpose` asks for is made and in its place.

        False, and nothing changes, where more is asked for meanwhile.
        """
        now = time.time()
        statement = (
            update(WorkRow)
            .where(WorkRow.key == key, WorkRow.purpose == purpose)
            .values(state="reported", error=None, next_attempt_at=None, ended_at=now, updated_at=now)
            .returning(WorkRow.key)
        )
        with self._session.begin() as session:
            return session.execute(statement).first() is not None

    def refused(self, key: str, code: str, sentence: str, remedy: str) -> None:
        """The key's images are not analysed, and why."""
        self._change(
            key,
            state="refused",
            code=code,
            sentence=sentence,
            remedy=remedy,
            error=None,
            next_attempt_at=None,
            ended_at=time.time(),
        )

    def refusal_known(self, key: str, code: str, sentence: str, remedy: str) -> None:
        """Why the key's images are not analysed; what tells of it is still to be made."""
        self._change(
            key, state="reporting", code=code, sentence=sentence, remedy=remedy, next_attempt_at=None
        )

    def failing(self, key: str, error: str, retry_in_s: float | None) -> None:
        """A fault; the work is tried again after `retry_in_s`, with None it ended so."""
        now = time.time()
        self._change(
            key,
            state="failing",
            error=error,
            failures=WorkRow.failures + 1,
            turn=WorkRow.turn + 1,
            next_attempt_at=now + retry_in_s if retry_in_s is not None else None,
            ended_at=now if retry_in_s is None else None,
        )

    def reopen(self, key: str, plan: WorkPlan, folder: Path) -> None:
        """An upload has come again, into another folder, after it failed or because more is asked for."""
        self._change(
            key,
            plan=plan.to_json(),
            upload_folder=str(folder),
            state="queued",
            turn=WorkRow.turn + 1,
            ended_at=None,
        )

    def redecide(self, key: str, plan: WorkPlan) -> None:
        """The same images lie among other series than before: keep what became of each of those."""
        with self._session.begin() as session:
            row = session.scalar(select(WorkRow).where(WorkRow.key == key))
            if row is not None:
                known = WorkPlan.from_json(row.plan)
                row.plan = replace(known, decisions=plan.decisions, warnings=plan.warnings).to_json()

    def ask(self, key: str, purpose: Purpose) -> bool:
        """Ask for more than the key's work was entered for; what goes further already stays.

        True where the work had ended before, so that it must be reopened to give more.
        """
        lesser = PURPOSES[: PURPOSES.index(purpose)]
        statement = update(WorkRow).where(WorkRow.key == key, WorkRow.purpose.in_(lesser))
        with self._session.begin() as session:
            session.execute(statement.values(purpose=purpose, updated_at=time.time()))
            return session.scalar(select(WorkRow.ended_at).where(WorkRow.key == key)) is not None

    def archive(self, key: str, plan: WorkPlan, orthanc_id: str) -> bool:
        """An upload's images have come into the archive; False where the key's results belong there already.

        Where the work had ended, with a result or in failure, it is queued anew, with the archive's images; a
        result that is there is not computed again.
        """
        wanted = update(WorkRow).where(WorkRow.key == key, WorkRow.purpose != "archive")
        ended = update(WorkRow).where(
            WorkRow.key == key, WorkRow.ended_at.is_not(None), WorkRow.state.in_(("reported", "failing"))
        )
        values: dict[str, Any] = {"purpose": "archive", "orthanc_id": orthanc_id, "updated_at": time.time()}
        with self._session.begin() as session:
            if session.execute(wanted.values(**values).returning(WorkRow.key)).first() is None:
                return False
            moved = {"source": "archive", "upload_folder": None, "plan": plan.to_json()}
            session.execute(ended.values(state="queued", turn=WorkRow.turn + 1, ended_at=None, **moved))
        return True

    def placed(self, key: str, orthanc_id: str) -> None:
        """An upload's originals are in the archive, as this study of Orthanc's."""
        self._change(key, orthanc_id=orthanc_id)

    def withdraw(self, key: str) -> None:
        """Take back a row that stands for no work any more (its study could not be examined, and now can)."""
        with self._session.begin() as session:
            session.execute(delete(WorkRow).where(WorkRow.key == key))

    def record_seconds(self, key: str, seconds: dict[str, float]) -> None:
        """Seconds of stages that are over; a repeated stage replaces what was known of it."""
        with self._session.begin() as session:
            for stage, value in seconds.items():
                session.merge(StageRow(key=key, stage=stage, seconds=value))

    def _change(self, key: str, **values: Any) -> None:
        statement = update(WorkRow).where(WorkRow.key == key).values(updated_at=time.time(), **values)
        with self._session.begin() as session:
            session.execute(statement)


def _not_ended() -> ColumnElement[bool]:
    """By the state first, which has an index: to look into every row takes long, for each holds its plan."""
    open_states = set(get_args(State)) - {"reported", "refused"}
    return and_(WorkRow.state.in_(sorted(open_states)), WorkRow.ended_at.is_(None))
