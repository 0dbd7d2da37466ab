"""Which processes do durable work, and when each last said that it lives; in the ledger's database."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session, sessionmaker

from dicom_node.ledger_tables import WorkerRow


class WorkerRoll:
    """One row for each executor name."""

    def __init__(self, session: sessionmaker[Session]) -> None:
        self._session = session

    def beat(self, executor_id: str) -> None:
        """The worker of this name lives."""
        with self._session.begin() as session:
            session.merge(WorkerRow(executor_id=executor_id, alive_at=time.time()))

    def all(self) -> list[tuple[str, datetime]]:
        """(name, when it last said that it lives) of every worker, by name."""
        query = select(WorkerRow).order_by(WorkerRow.executor_id)
        with self._session() as session:
            return [
                (row.executor_id, datetime.fromtimestamp(row.alive_at, UTC)) for row in session.scalars(query)
            ]

    def silent(self, for_s: float) -> list[str]:
        """Names of workers that have not said for so long that they live."""
        query = select(WorkerRow.executor_id).where(WorkerRow.alive_at < time.time() - for_s)
        with self._session() as session:
            return list(session.scalars(query))

    def forget(self, executor_id: str) -> None:
        """The worker's work was taken over; if it comes back it says so."""
        with self._session.begin() as session:
            session.execute(delete(WorkerRow).where(WorkerRow.executor_id == executor_id))
