"""Which DICOM objects the node made of each key, and where their files lie; in the ledger's database."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session, sessionmaker

from dicom_node.ledger_records import ObjectRecord, object_record
from dicom_node.ledger_tables import ObjectRow, WorkRow


class ObjectBook:
    """One row for each object."""

    def __init__(self, session: sessionmaker[Session]) -> None:
        self._session = session

    def add(self, key: str, objects: Iterable[ObjectRecord]) -> None:
        """The objects of a key; entered before any of them leaves, so that none of them ever makes work."""
        with self._session.begin() as session:
            for item in objects:
                session.merge(ObjectRow(key=key, **{**asdict(item), "path": str(item.path)}))

    def of(self, key: str) -> list[ObjectRecord]:
        """The objects of a key in their order."""
        query = select(ObjectRow).where(ObjectRow.key == key).order_by(ObjectRow.number)
        with self._session() as session:
            return [object_record(row) for row in session.scalars(query)]

    def key_of(self, sop_instance_uid: str) -> str | None:
        """The key that an object of ours was made for."""
        with self._session() as session:
            return session.scalar(select(ObjectRow.key).where(ObjectRow.sop_instance_uid == sop_instance_uid))

    def own_series(self, series_uids: Iterable[str]) -> set[str]:
        """Those of the series that this node made."""
        query = select(ObjectRow.series_uid).where(ObjectRow.series_uid.in_(list(series_uids))).distinct()
        with self._session() as session:
            return set(session.scalars(query))

    def unclaimed(self) -> list[str]:
        """Keys of uploads that ended and whose objects were made for a caller only."""
        query = select(WorkRow.key).where(WorkRow.purpose == "objects", WorkRow.ended_at.is_not(None))
        with self._session() as session:
            return list(session.scalars(query))

    def forget(self, key: str) -> list[Path]:
        """Take back the objects of an upload that were made for its caller only; the files to remove."""
        made_for_caller = update(WorkRow).where(WorkRow.key == key, WorkRow.purpose == "objects")
        with self._session.begin() as session:
            if (
                session.execute(made_for_caller.values(purpose="answer").returning(WorkRow.key)).first()
                is None
            ):
                return []
            paths = delete(ObjectRow).where(ObjectRow.key == key).returning(ObjectRow.path)
            return [Path(path) for path in session.scalars(paths)]
