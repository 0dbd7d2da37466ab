"""The same node on a real PostgreSQL: ledger and store of steps in one database."""

from __future__ import annotations

import os
import pwd
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import Comprehensive3DSRStorage
from sqlalchemy import create_engine, inspect

from dicom_node.study_list import GROUPS, StudyFilter
from tests.dicom_node.conftest import Pacs, Site, eventually, next_free_port
from tests.dicom_node.studies import send, write_chest

CHARACTERS = "p@ss/word"  # that a URL would have to escape


def _programs() -> Path:
    """Folder of `initdb` and `pg_ctl`; absent, the test is skipped, in CI it fails."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        message = "PostgreSQL is not installed: apt-get install postgresql"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return found[-1].parent


@dataclass(frozen=True)
class Server:
    """A PostgreSQL that the test started: `url` without the password, which `password_file` holds."""

    url: str
    password_file: Path


@pytest.fixture
def postgres() -> Iterator[Server]:
    """It refuses to run as root, so it runs as `postgres` then, in a folder that this user can reach."""
    programs, port = _programs(), next_free_port()
    with tempfile.TemporaryDirectory(prefix="postgres-") as name:
        folder = Path(name)
        secret = folder / "secret"
        secret.write_text(CHARACTERS)
        user: dict[str, Any] = {}
        if os.geteuid() == 0:
            account = pwd.getpwnam("postgres")
            for path in (folder, secret):
                os.chown(path, account.pw_uid, account.pw_gid)
            user = {"user": account.pw_uid, "group": account.pw_gid, "cwd": "/"}
        data = folder / "data"
        secured = ["-U", "node", "-A", "scram-sha-256", f"--pwfile={secret}", "--no-sync"]
        options = f"-p {port} -k {folder} -h 127.0.0.1 -c fsync=off"
        control = [programs / "pg_ctl", "-D", data]

        def run(*command: str | Path) -> None:
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **user)

        run(programs / "initdb", "-D", data, *secured)
        run(*control, "-l", folder / "log", "-o", options, "-w", "start")
        yield Server(f"postgresql+psycopg://node@127.0.0.1:{port}/postgres", secret)
        run(*control, "-m", "immediate", "stop")


def test_study_is_reported_and_a_restart_goes_on(
    site: Site, postgres: Server, pacs: Pacs, tmp_path: Path
) -> None:
    settings = site.settings(
        pacs.destination(), database_url=postgres.url, database_password_file=postgres.password_file
    )
    node = site.restart(settings)
    send(write_chest(tmp_path, "first"), site.archive)
    eventually(lambda: pacs.classes().count(Comprehensive3DSRStorage) == 1)
    site.analyser.faults = [RuntimeError("a fault that waits for the next start")]
    send(write_chest(tmp_path, "second"), site.archive)
    eventually(lambda: {record.state for record in node.ledger.recent()} == {"reported", "failing"})
    node = site.restart(settings)
    eventually(lambda: {record.state for record in node.ledger.recent()} == {"reported"})
    eventually(lambda: pacs.classes().count(Comprehensive3DSRStorage) == 2)
    eventually(lambda: node.ledger.studies.counts()["undelivered"] == 0)
    assert node.ledger.backlog() == {}
    pages = {group: node.ledger.studies.page(StudyFilter(group=group), 1, 10).total for group in GROUPS}
    assert pages == node.ledger.studies.counts() == {**dict.fromkeys(GROUPS, 0), "reported": 2}
    tables = inspect(create_engine(settings.database() or ""))
    assert "work" in tables.get_table_names()
    assert "workflow_status" in tables.get_table_names(schema="dbos")
    assert not list((tmp_path / "node").glob("*.sqlite"))
