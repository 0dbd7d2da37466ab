"""What was rejected of each study, results or images, and why; in the ledger's database."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from dicom_node.ledger_tables import FeedbackRow, ObjectRow
from dicom_node.rejection_notes import STOPPING, TITLES, RejectionNote


@dataclass(frozen=True)
class Feedback:
    """One rejection: of results (`key` made them) or of the study's own images, so many `objects`."""

    about: Literal["result", "images"]
    code: str
    sentence: str
    key: str | None
    objects: int
    received_at: datetime


class FeedbackBook:
    """A row for each rejection note and each key, or the images, that it is about."""

    def __init__(self, session: sessionmaker[Session]) -> None:
        self._session = session

    def record(self, study_uid: str, notes: Iterable[RejectionNote], images: Collection[str]) -> None:
        """Enter the notes of a study whose own images have these UIDs; a known note stays as it is."""
        with self._session.begin() as session:
            for note in notes:
                made = select(ObjectRow).where(ObjectRow.study_uid == study_uid)
                ours: dict[str, list[str]] = {}
                for row in session.scalars(made):
                    if row.sop_instance_uid in note.rejected:
                        ours.setdefault(row.key, []).append(row.sop_instance_uid)
                for key, objects in ours.items():
                    self._enter(session, study_uid, note, key, objects)
                rejected = sorted(note.rejected & set(images))
                if rejected:
                    self._enter(session, study_uid, note, "", rejected)

    def of(self, study_uid: str) -> list[Feedback]:
        """The rejections of a study, oldest first."""
        query = (
            select(FeedbackRow).where(FeedbackRow.study_uid == study_uid).order_by(FeedbackRow.received_at)
        )
        with self._session() as session:
            return [
                Feedback(
                    about="result" if row.key else "images",
                    code=row.code,
                    sentence=TITLES[row.code],
                    key=row.key or None,
                    objects=len(row.objects),
                    received_at=datetime.fromtimestamp(row.received_at, UTC),
                )
                for row in session.scalars(query)
            ]

    def not_to_read(self, study_uid: str) -> set[str]:
        """SOP Instance UIDs of images that were rejected for a reason that stops work on them."""
        query = select(FeedbackRow.objects).where(
            FeedbackRow.study_uid == study_uid, FeedbackRow.key == "", FeedbackRow.code.in_(STOPPING)
        )
        with self._session() as session:
            return {uid for uids in session.scalars(query) for uid in uids}

    @staticmethod
    def _enter(session: Session, study_uid: str, note: RejectionNote, key: str, objects: list[str]) -> None:
        if session.get(FeedbackRow, (note.sop_instance_uid, key)) is None:
            session.add(
                FeedbackRow(
                    note_uid=note.sop_instance_uid,
                    key=key,
                    study_uid=study_uid,
                    code=note.code,
                    objects=objects,
                    received_at=time.time(),
                )
            )
