"""What the ledger says: frozen records, made from its rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, cast, get_args

from sqlalchemy import select
from sqlalchemy.orm import Session

from dicom_node.ledger_tables import DeliveryRow, ObjectRow, StageRow, WorkRow
from dicom_node.plan import WorkPlan

Source = Literal["archive", "upload"]
Purpose = Literal["answer", "objects", "archive"]
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)
"""Each asks for all that those before it ask for."""
State = Literal["queued", "fetching", "analysing", "reporting", "storing", "reported", "refused", "failing"]
DeliveryState = Literal["queued", "delivered", "failing", "stopped"]

NOT_EXAMINED = "not examined"
"""In place of a digest of images: the row stands for a study that could not be examined yet."""


@dataclass(frozen=True)
class DeliveryRecord:
    """What became of one key at one destination; `error` is the last fault, nothing of a patient."""

    destination: str
    state: DeliveryState
    attempts: int
    error: str | None
    next_attempt_at: datetime | None
    delivered_at: datetime | None
    objects: int

    @property
    def given_up(self) -> bool:
        """Whether it is not tried again by itself: the settings must change, or a person ask."""
        return self.state == "failing" and self.next_attempt_at is None


@dataclass(frozen=True)
class WorkRecord:
    """One key of work as the ledger knows it.

    Attributes
    ----------
    source, orthanc_id, upload_folder, upload_name
        Where the images are: in the archive, or in an upload's folder; `upload_name` names a NIfTI volume.
    purpose
        What is to be made: an answer only, an answer with DICOM objects for the caller of HTTP, or objects
        that belong into the archive and to the destinations.
    predecessor
        Key of the work on the same study that this one succeeds.
    images
        Digest of the images (see `key.images_digest`).
    code, sentence, remedy
        Why the study was refused, and what a person can do.
    error, failures, next_attempt_at
        The last fault, how many there were, when the work is tried again (None: it is not).
    turn
        Number of the durable run that does the work, from 0.
    seconds
        Duration of each stage that is over.
    """

    key: str
    study_uid: str
    series_uid: str
    source: Source
    orthanc_id: str | None
    upload_folder: Path | None
    upload_name: str
    purpose: Purpose
    attempt: int
    predecessor: str | None
    images: str
    state: State
    code: str | None
    sentence: str | None
    remedy: str | None
    error: str | None
    failures: int
    turn: int
    next_attempt_at: datetime | None
    created_at: datetime
    updated_at: datetime
    ended_at: datetime | None
    seconds: dict[str, float]
    deliveries: tuple[DeliveryRecord, ...]

    @property
    def archived(self) -> bool:
        """Whether the results belong into the archive and to the destinations."""
        return self.purpose == "archive"

    @property
    def ended(self) -> bool:
        """Reported, refused, or (an upload only) failed for good; deliveries may still be due."""
        return self.ended_at is not None


@dataclass(frozen=True)
class NewWork:
    """What is known of a key when it is entered."""

    key: str
    source: Source
    plan: WorkPlan
    purpose: Purpose
    images: str
    orthanc_id: str | None = None
    upload_folder: Path | None = None
    upload_name: str = ""
    attempt: int = 0
    predecessor: str | None = None


@dataclass(frozen=True)
class ObjectRecord:
    """One DICOM object that the node made; `number` orders those of a key, the structured report first.

    `kind` is one of `settings_section.ObjectKind`, or that with a word for an SOP class behind a hyphen: the
    same report for a destination that takes no other.
    """

    sop_instance_uid: str
    sop_class_uid: str
    series_uid: str
    study_uid: str
    kind: str
    number: int
    path: Path

    @property
    def for_destination(self) -> bool:
        """Whether it is another object's copy in another SOP class."""
        return "-" in self.kind


def work_records(session: Session, rows: Sequence[WorkRow]) -> list[WorkRecord]:
    """The rows with their stages and deliveries."""
    keys = [row.key for row in rows]
    seconds: dict[str, dict[str, float]] = {key: {} for key in keys}
    for stage in session.scalars(select(StageRow).where(StageRow.key.in_(keys))):
        seconds[stage.key][stage.stage] = stage.seconds
    deliveries: dict[str, list[DeliveryRecord]] = {key: [] for key in keys}
    query = select(DeliveryRow).where(DeliveryRow.key.in_(keys)).order_by(DeliveryRow.destination)
    for delivery in session.scalars(query):
        deliveries[delivery.key].append(delivery_record(delivery))
    return [_work_record(row, seconds[row.key], tuple(deliveries[row.key])) for row in rows]


def _work_record(
    row: WorkRow, seconds: dict[str, float], deliveries: tuple[DeliveryRecord, ...]
) -> WorkRecord:
    return WorkRecord(
        key=row.key,
        study_uid=row.study_uid,
        series_uid=row.series_uid,
        source=cast("Source", row.source),
        orthanc_id=row.orthanc_id,
        upload_folder=Path(row.upload_folder) if row.upload_folder is not None else None,
        upload_name=row.upload_name,
        purpose=cast("Purpose", row.purpose),
        attempt=row.attempt,
        predecessor=row.predecessor,
        images=row.images,
        state=cast("State", row.state),
        code=row.code,
        sentence=row.sentence,
        remedy=row.remedy,
        error=row.error,
        failures=row.failures,
        turn=row.turn,
        next_attempt_at=_moment(row.next_attempt_at),
        created_at=datetime.fromtimestamp(row.created_at, UTC),
        updated_at=datetime.fromtimestamp(row.updated_at, UTC),
        ended_at=_moment(row.ended_at),
        seconds=seconds,
        deliveries=deliveries,
    )


def delivery_record(row: DeliveryRow) -> DeliveryRecord:
    """A row of the deliveries."""
    return DeliveryRecord(
        destination=row.destination,
        state=cast("DeliveryState", row.state),
        attempts=row.attempts,
        error=row.error,
        next_attempt_at=_moment(row.next_attempt_at),
        delivered_at=_moment(row.delivered_at),
        objects=row.objects,
    )


def object_record(row: ObjectRow) -> ObjectRecord:
    """A row of the objects."""
    return ObjectRecord(
        sop_instance_uid=row.sop_instance_uid,
        sop_class_uid=row.sop_class_uid,
        series_uid=row.series_uid,
        study_uid=row.study_uid,
        kind=row.kind,
        number=row.number,
        path=Path(row.path),
    )


def _moment(seconds: float | None) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds is not None else None
