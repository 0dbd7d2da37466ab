"""The database that the ledger lies in: how it is opened, and what its driver says of a fault."""

from __future__ import annotations

import sqlite3
import time
from typing import Any

from sqlalchemy import Engine, MetaData, create_engine, event, inspect, text

_WAIT_S = 30.0
_LOCK = 0x6C656467  # "ledg": a number of our own among PostgreSQL's advisory locks


def database_words(error: Exception) -> str:
    """What the driver says of the database ("database or disk is full"), without statement and values."""
    return str(getattr(error, "orig", None) or type(error).__name__).partition("\n")[0]


def open_engine(url: str) -> Engine:
    """The database at `url`, SQLite or another; SQLite such that a committed row outlives a kill."""
    if not url.startswith("sqlite"):
        return create_engine(url, pool_pre_ping=True)
    engine = create_engine(url, connect_args={"timeout": _WAIT_S})

    @event.listens_for(engine, "connect")
    def _pragmas(connection: Any, _: Any) -> None:
        # Readers do not wait for the writer, and a committed row survives a kill at any moment.
        _use_write_ahead_log(connection)
        for pragma in ("synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    return engine


def create_tables(engine: Engine, tables: MetaData) -> None:
    """Create the tables that are not there yet; of processes that start together, one after the other."""
    if set(tables.tables) <= set(inspect(engine).get_table_names()):
        return
    lock = "BEGIN IMMEDIATE" if engine.dialect.name == "sqlite" else f"SELECT pg_advisory_xact_lock({_LOCK})"
    with engine.begin() as connection:
        connection.execute(text(lock))
        tables.create_all(connection)


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Set once for the file; where processes start together, SQLite lets none wait for another here."""
    deadline = time.monotonic() + _WAIT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return
