"""What each destination got, or is still to get, of each key; in the ledger's database."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session, sessionmaker

from dicom_node.ledger_records import DeliveryRecord, delivery_record
from dicom_node.ledger_tables import DeliveryRow


class DeliveryBook:
    """One row for each key and destination."""

    def __init__(self, session: sessionmaker[Session]) -> None:
        self._session = session

    def add(self, key: str, destination: str) -> None:
        """A destination is to get the key's objects; nothing changes where that is known."""
        with self._session.begin() as session:
            if session.get(DeliveryRow, (key, destination)) is None:
                session.add(DeliveryRow(key=key, destination=destination, state="queued"))

    def again(self, key: str, destination: str) -> None:
        """The destination is to get the key's objects once more; tries are counted on."""
        with self._session.begin() as session:
            session.execute(
                update(DeliveryRow)
                .where(DeliveryRow.key == key, DeliveryRow.destination == destination)
                .values(state="queued", error=None, next_attempt_at=None)
            )

    def delivered(self, key: str, destination: str, objects: int) -> None:
        """The destination stored everything."""
        self._change(
            key,
            destination,
            state="delivered",
            error=None,
            next_attempt_at=None,
            delivered_at=time.time(),
            objects=objects,
        )

    def failing(self, key: str, destination: str, error: str, retry_in_s: float | None) -> None:
        """The destination did not take everything; it is tried again after `retry_in_s`, with None not."""
        again = time.time() + retry_in_s if retry_in_s is not None else None
        self._change(key, destination, state="failing", error=error, next_attempt_at=again)

    def stopped(self, key: str, destination: str, reason: str) -> None:
        """The destination is not to get the key's objects any more."""
        self._change(key, destination, state="stopped", error=reason, next_attempt_at=None)

    def get(self, key: str, destination: str) -> DeliveryRecord:
        """One delivery. KeyError where there is none."""
        with self._session() as session:
            row = session.get(DeliveryRow, (key, destination))
        if row is None:
            raise KeyError(f"{key} to {destination}")
        return delivery_record(row)

    def due(self) -> list[tuple[str, DeliveryRecord]]:
        """(key, delivery) of every delivery that is not over."""
        query = select(DeliveryRow).where(DeliveryRow.state.not_in(("delivered", "stopped")))
        with self._session() as session:
            return [(row.key, delivery_record(row)) for row in session.scalars(query)]

    def _change(self, key: str, destination: str, **values: Any) -> None:
        statement = (
            update(DeliveryRow)
            .where(DeliveryRow.key == key, DeliveryRow.destination == destination)
            .values(attempts=DeliveryRow.attempts + 1, **values)
        )
        with self._session.begin() as session:
            session.execute(statement)
