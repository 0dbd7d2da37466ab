"""The database that the ledger lies in: how it is opened, and what its driver says of a fault."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, create_engine, event


def database_words(error: Exception) -> str:
    """What the driver says of the database ("database or disk is full"), without statement and values."""
    return str(getattr(error, "orig", None) or type(error).__name__).partition("\n")[0]


def open_engine(url: str) -> Engine:
    """The database at `url`, SQLite or another; SQLite such that a committed row outlives a kill."""
    if not url.startswith("sqlite"):
        return create_engine(url, pool_pre_ping=True)
    engine = create_engine(url, connect_args={"timeout": 30})

    @event.listens_for(engine, "connect")
    def _pragmas(connection: Any, _: Any) -> None:
        # Readers do not wait for the writer, and a committed row survives a kill at any moment.
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    return engine
