"""A worker that is killed and does not come back: another one goes on with its study."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from pydicom.uid import Comprehensive3DSRStorage
from sqlalchemy.exc import OperationalError

from dicom_node.delivery_book import DeliveryBook
from dicom_node.errors import ExecutorTaken
from dicom_node.ledger import Ledger
from dicom_node.ledger_records import Purpose
from dicom_node.node import Node
from dicom_node.settings import WorkerSettings
from dicom_node.steps import StudySteps
from dicom_node.worker_roll import WorkerRoll
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
    assert node.ledger.workers.silent(3) == []


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


def test_delivery_that_ended_on_a_fault_of_the_ledger_is_entered_again(
    site: Site, pacs: Pacs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dicom_node.workers.BEAT_S", 0.2)
    monkeypatch.setattr("dicom_node.workers.SILENCE_S", 1)
    faults = ["delivered", "failing"]
    delivered, failing = DeliveryBook.delivered, DeliveryBook.failing

    def locked_delivered(self: DeliveryBook, *arguments: object) -> None:
        if "delivered" in faults:
            faults.remove("delivered")
            raise OperationalError("UPDATE ...", {}, Exception("the database is locked"))
        delivered(self, *arguments)  # type: ignore[arg-type]

    def locked_failing(self: DeliveryBook, *arguments: object) -> None:
        if "failing" in faults:
            faults.remove("failing")
            raise OperationalError("UPDATE ...", {}, Exception("the database is locked"))
        failing(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(DeliveryBook, "delivered", locked_delivered)
    monkeypatch.setattr(DeliveryBook, "failing", locked_failing)
    node = site.start(pacs.destination())
    send(write_chest(tmp_path, "undelivered"), site.archive)
    eventually(lambda: [d.state for r in node.ledger.recent() for d in r.deliveries] == ["delivered"])
    assert faults == []
    assert len({uid for _, uid, _ in pacs.received}) == 3


def test_run_that_the_store_of_workflows_lost_is_revived(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when its disk is full: neither the step nor the end of the run can be recorded."""
    monkeypatch.setattr("dicom_node.workers.BEAT_S", 0.2)
    monkeypatch.setattr("dicom_node.workers.SILENCE_S", 1)
    report = StudySteps.report
    faults = [True]

    class Vanished(BaseException):
        """Ends the run's thread, and DBOS records nothing."""

    def vanishing(self: StudySteps, key: str) -> None:
        if faults:
            faults.pop()
            raise Vanished
        report(self, key)

    monkeypatch.setattr(StudySteps, "report", vanishing)
    node = site.start()
    send(write_chest(tmp_path, "vanished"), site.archive)
    eventually(lambda: [record.state for record in node.ledger.recent()] == ["reported"])
    [record] = node.ledger.recent()
    assert site.analyser.calls == [record.key]
    assert len(instances_of(site.archive, Comprehensive3DSRStorage)) == 1


def test_heart_beats_on_after_any_fault(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dicom_node.workers.BEAT_S", 0.05)
    beat = WorkerRoll.beat
    beats: list[str] = []

    def failing(self: WorkerRoll, executor_id: str) -> None:
        beats.append(executor_id)
        if len(beats) == 1:
            raise OperationalError("UPDATE ...", {}, Exception("database or disk is full"))
        if len(beats) < 20:
            raise RuntimeError("anything")
        beat(self, executor_id)

    monkeypatch.setattr(WorkerRoll, "beat", failing)
    node = site.start()
    said: set[str | None] = set()
    eventually(lambda: said.add(node.health().database_problem) or len(beats) > 20)
    eventually(lambda: node.health().database_problem is None)
    words = "the databases of the data folder cannot be used:"
    assert said >= {f"{words} database or disk is full", f"{words} RuntimeError"}


def test_second_node_does_not_take_studies_in_for_the_same_folder(site: Site) -> None:
    site.start()
    second = Node(site.settings(worker=WorkerSettings(executor_id="other")), analyser=site.analyser)
    with pytest.raises(ExecutorTaken, match=r"another node takes studies in .* 'dicom-node worker'"):
        second.start()
    second.stop()
