"""What the intake remembers of the archive: its place in `/changes`, and each study as it last saw it."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import delete, select
from sqlalchemy.orm import Session, sessionmaker

from dicom_node.ledger_tables import PositionRow, SeenRow


class ArchiveMemory:
    """In the ledger's database, so that a restart loses nothing."""

    def __init__(self, session: sessionmaker[Session]) -> None:
        self._session = session

    def seen(self) -> dict[str, str]:
        """`last_update` of every study that was examined, by Orthanc's identifier."""
        with self._session() as session:
            return {row.orthanc_id: row.last_update for row in session.scalars(select(SeenRow))}

    def seen_at(self, orthanc_id: str) -> str | None:
        """`last_update` of one study when it was examined, None where it never was."""
        with self._session() as session:
            row = session.get(SeenRow, orthanc_id)
            return row.last_update if row is not None else None

    def see(self, orthanc_id: str, last_update: str) -> None:
        """A study was examined as of `last_update`."""
        with self._session.begin() as session:
            session.merge(SeenRow(orthanc_id=orthanc_id, last_update=last_update))

    def forget(self, orthanc_ids: Iterable[str]) -> None:
        """Studies are no longer in the archive, or are to be examined again."""
        with self._session.begin() as session:
            for orthanc_id in orthanc_ids:
                session.execute(delete(SeenRow).where(SeenRow.orthanc_id == orthanc_id))

    def position(self, feed: str) -> int | None:
        """How far a feed was followed, None where it never was."""
        with self._session() as session:
            row = session.get(PositionRow, feed)
            return row.position if row is not None else None

    def set_position(self, feed: str, position: int) -> None:
        """A feed was followed up to `position`."""
        with self._session.begin() as session:
            session.merge(PositionRow(feed=feed, position=position))
