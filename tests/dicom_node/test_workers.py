"""A worker that is killed and does not come back: another one goes on with its study."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from pydicom.uid import Comprehensive3DSRStorage
from sqlalchemy.exc import OperationalError

from dicom_node.ledger import Ledger
from dicom_node.ledger_records import Purpose
from dicom_node.settings import WorkerSettings
from tests.dicom_node.conftest import NodeProgram, Pacs, Site, eventually, instances_of
from tests.dicom_node.studies import send, write_chest


def test_work_of_a_dead_worker_is_taken_over(
    node_program: NodeProgram, site: Site, pacs: Pacs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dicom_node.workers.BEAT_S", 0.5)
    monkeypatch.setattr("dicom_node.workers.SILENCE_S", 3)
    with node_program.running("analysing") as other:
        send(write_chest(tmp_path, "orphan"), site.archive)
        assert other.wait(60) == -signal.SIGKILL
    node = site.start(pacs.destination(), worker=WorkerSettings(executor_id="survivor"))
    [record] = node.ledger.recent()
    assert record.state == "analysing"
    eventually(lambda: node.ledger.known(record.key).state == "reported")
    eventually(lambda: Comprehensive3DSRStorage in pacs.classes())
    assert site.analyser.calls == [record.key]
    assert node.ledger.silent_workers(3) == []


def test_run_that_ended_without_a_result_is_entered_again(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dicom_node.workers.BEAT_S", 0.2)
    monkeypatch.setattr("dicom_node.workers.SILENCE_S", 1)
    reported = Ledger.reported
    faults = [OperationalError("UPDATE work ...", {}, Exception("the database is locked"))]

    def failing(self: Ledger, key: str, purpose: Purpose) -> bool:
        if faults:
            raise faults.pop()
        return reported(self, key, purpose)

    monkeypatch.setattr(Ledger, "reported", failing)
    node = site.start()
    send(write_chest(tmp_path, "stranded"), site.archive)
    eventually(lambda: [record.state for record in node.ledger.recent()] == ["reported"])
    [record] = node.ledger.recent()
    assert record.failures == 1
    assert site.analyser.calls == [record.key]
    assert len(instances_of(site.archive, Comprehensive3DSRStorage)) == 1
