"""The tables of the ledger. Times are seconds since the epoch (UTC); nothing here names a patient."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Table(DeclarativeBase):
    """Base of the ledger's tables."""


class WorkRow(Table):
    """One key of work: a study and image set, and how far it came."""

    __tablename__ = "work"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    key: Mapped[str] = mapped_column(String(64), unique=True)
    study_uid: Mapped[str] = mapped_column(String(200), index=True)
    series_uid: Mapped[str] = mapped_column(String(200))
    source: Mapped[str] = mapped_column(String(10))
    orthanc_id: Mapped[str | None] = mapped_column(String(64))
    upload_folder: Mapped[str | None]
    upload_name: Mapped[str] = mapped_column(String(200), default="")
    purpose: Mapped[str] = mapped_column(String(8))
    attempt: Mapped[int]
    predecessor: Mapped[str | None] = mapped_column(String(64))
    images: Mapped[str] = mapped_column(String(64))
    plan: Mapped[dict[str, Any]] = mapped_column(JSON)
    state: Mapped[str] = mapped_column(String(12), index=True)
    code: Mapped[str | None] = mapped_column(String(40))
    sentence: Mapped[str | None]
    remedy: Mapped[str | None]
    error: Mapped[str | None]
    failures: Mapped[int] = mapped_column(default=0)
    turn: Mapped[int] = mapped_column(default=0)
    next_attempt_at: Mapped[float | None]
    created_at: Mapped[float]
    updated_at: Mapped[float]
    ended_at: Mapped[float | None]


class StageRow(Table):
    """Seconds that one stage of one key took."""

    __tablename__ = "stages"

    key: Mapped[str] = mapped_column(ForeignKey("work.key"), primary_key=True)
    stage: Mapped[str] = mapped_column(String(80), primary_key=True)
    seconds: Mapped[float]


class DeliveryRow(Table):
    """What one destination got, or is still to get, of one key."""

    __tablename__ = "deliveries"

    key: Mapped[str] = mapped_column(ForeignKey("work.key"), primary_key=True)
    destination: Mapped[str] = mapped_column(String(64), primary_key=True)
    state: Mapped[str] = mapped_column(String(10), index=True)
    attempts: Mapped[int] = mapped_column(default=0)
    error: Mapped[str | None]
    next_attempt_at: Mapped[float | None]
    delivered_at: Mapped[float | None]
    objects: Mapped[int] = mapped_column(default=0)


class ObjectRow(Table):
    """One DICOM object that this node made: its bytes lie in `path` and never change."""

    __tablename__ = "objects"
    __table_args__ = (Index("objects_key", "key"), Index("objects_series", "series_uid"))

    sop_instance_uid: Mapped[str] = mapped_column(String(64), primary_key=True)
    sop_class_uid: Mapped[str] = mapped_column(String(64))
    series_uid: Mapped[str] = mapped_column(String(64))
    study_uid: Mapped[str] = mapped_column(String(64))
    key: Mapped[str] = mapped_column(ForeignKey("work.key"))
    kind: Mapped[str] = mapped_column(String(8))
    number: Mapped[int]
    path: Mapped[str]


class FeedbackRow(Table):
    """A rejection note, about the objects of one key, or ("") about the study's own images."""

    __tablename__ = "feedback"

    note_uid: Mapped[str] = mapped_column(String(64), primary_key=True)
    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    study_uid: Mapped[str] = mapped_column(String(200), index=True)
    code: Mapped[str] = mapped_column(String(16))
    objects: Mapped[list[str]] = mapped_column(JSON)
    received_at: Mapped[float]


class AnswerRow(Table):
    """What lists show of the answer of one key; the whole answer is the file of its result."""

    __tablename__ = "answers"

    key: Mapped[str] = mapped_column(ForeignKey("work.key"), primary_key=True)
    probability: Mapped[float]
    operating_point: Mapped[float]
    verdict: Mapped[str] = mapped_column(String(13), index=True)
    finding: Mapped[str] = mapped_column(String(200))
    finding_probability: Mapped[float | None]
    others: Mapped[int]
    demonstration: Mapped[bool]


class SeenRow(Table):
    """A study of the archive, as it was when it was last examined."""

    __tablename__ = "seen_studies"

    orthanc_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    last_update: Mapped[str] = mapped_column(String(40))


class WorkerRow(Table):
    """A process that does durable work, and when it last said that it lives."""

    __tablename__ = "workers"

    executor_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    alive_at: Mapped[float]


class PositionRow(Table):
    """How far a feed was followed."""

    __tablename__ = "positions"

    feed: Mapped[str] = mapped_column(String(80), primary_key=True)
    position: Mapped[int]
