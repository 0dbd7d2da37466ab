from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dicom_node.ledger import Ledger
from dicom_node.ledger_records import NewWork, Purpose
from dicom_node.plan import PlannedInstance, WorkPlan
from inference.study_result import SeriesDecision

PLAN = WorkPlan(
    study_uid="1.2",
    series_uid="1.2.9",
    instances=(PlannedInstance("1.2.9.1", "orthanc-1", "aa"), PlannedInstance("1.2.9.2", "orthanc-2", "bb")),
    decisions=(SeriesDecision("1.2.9", 2, True, "chosen", "Chosen."),),
    warnings=("One image was left out.",),
)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")


def _new(key: str, purpose: Purpose = "archive") -> NewWork:
    return NewWork(key=key, source="archive", plan=PLAN, purpose=purpose, images=PLAN.images, orthanc_id="o")


def test_key_is_entered_once(ledger: Ledger) -> None:
    assert ledger.add(_new("a"))
    assert not ledger.add(_new("a"))
    assert ledger.counts() == {"queued": 1}
    assert ledger.plan("a") == PLAN
    with pytest.raises(KeyError):
        ledger.known("b")


def test_processes_that_start_together_make_one_ledger(tmp_path: Path) -> None:
    together = threading.Barrier(6)
    for attempt in range(5):
        url = f"sqlite:///{tmp_path / f'{attempt}.sqlite'}"

        def opened(number: int, url: str = url) -> bool:
            together.wait()
            return Ledger(url).add(_new(f"{number}"))

        with ThreadPoolExecutor(together.parties) as processes:
            assert all(processes.map(opened, range(together.parties)))
        assert Ledger(url).counts() == {"queued": together.parties}


def test_what_is_entered_survives_the_process(ledger: Ledger, tmp_path: Path) -> None:
    ledger.add(_new("a"))
    ledger.record_seconds("a", {"fetch": 1.5})
    ledger.record_seconds("a", {"fetch": 2.5, "report": 0.5})
    ledger.close()
    record = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}").known("a")
    assert record.seconds == {"fetch": 2.5, "report": 0.5}
    assert record.created_at.tzinfo is not None


def test_failure_is_open_until_it_is_reported(ledger: Ledger) -> None:
    ledger.add(_new("a"))
    ledger.failing("a", "Orthanc is not running", 5)
    record = ledger.known("a")
    assert (record.state, record.failures, record.turn, record.ended) == ("failing", 1, 1, False)
    assert record.next_attempt_at is not None
    assert [item.key for item in ledger.unfinished()] == ["a"]
    assert ledger.backlog() == {"failing": 1}
    assert ledger.reported("a", "archive")
    record = ledger.known("a")
    assert (record.state, record.error, record.next_attempt_at, record.ended) == (
        "reported",
        None,
        None,
        True,
    )
    assert ledger.unfinished() == []
    assert ledger.backlog() == {}


def test_work_that_is_to_be_archived_meanwhile_is_not_reported_without_it(ledger: Ledger) -> None:
    ledger.add(_new("a", "answer"))
    assert ledger.archive("a", PLAN, "orthanc-7")
    assert not ledger.archive("a", PLAN, "orthanc-7")
    assert not ledger.reported("a", "answer")
    assert ledger.known("a").state == "queued"
    assert ledger.known("a").orthanc_id == "orthanc-7"


def test_reported_work_that_is_to_be_archived_after_all_is_queued_anew(ledger: Ledger) -> None:
    ledger.add(_new("a", "answer"))
    ledger.reported("a", "answer")
    assert ledger.archive("a", PLAN, "orthanc-7")
    record = ledger.known("a")
    assert (record.state, record.turn, record.ended, record.archived) == ("queued", 1, False, True)


def test_asking_for_more_says_whether_the_work_had_ended(ledger: Ledger) -> None:
    ledger.add(_new("a", "answer"))
    assert not ledger.ask("a", "objects")
    assert not ledger.reported("a", "answer")
    assert ledger.reported("a", "objects")
    assert ledger.ask("a", "answer")
    assert ledger.known("a").purpose == "objects"


def test_latest_of_a_study_is_the_newest_in_the_archive(ledger: Ledger) -> None:
    assert ledger.latest("1.2") is None
    for key in ("a", "b"):
        ledger.add(_new(key))
    ledger.add(_new("upload", "answer"))
    latest = ledger.latest("1.2")
    assert latest is not None
    assert latest.key == "b"
    assert [record.key for record in ledger.recent(2)] == ["upload", "b"]


def test_deliveries_of_a_key(ledger: Ledger) -> None:
    ledger.add(_new("a"))
    ledger.deliveries.add("a", "pacs")
    ledger.deliveries.failing("a", "pacs", "PACS cannot be reached", 5)
    ledger.deliveries.add("a", "pacs")
    [(key, failing)] = ledger.deliveries.due()
    assert (key, failing.state, failing.attempts, failing.error) == (
        "a",
        "failing",
        1,
        "PACS cannot be reached",
    )
    ledger.deliveries.delivered("a", "pacs", 3)
    [delivered] = ledger.known("a").deliveries
    assert (delivered.state, delivered.attempts, delivered.error, delivered.objects) == (
        "delivered",
        2,
        None,
        3,
    )
    assert ledger.deliveries.due() == []


def test_memory_of_the_archive(ledger: Ledger) -> None:
    memory = ledger.memory
    memory.see("one", "20260101T000000")
    memory.see("one", "20260101T000007")
    memory.see("two", "20260101T000001")
    assert memory.seen() == {"one": "20260101T000007", "two": "20260101T000001"}
    memory.forget(["two"])
    assert memory.seen_at("two") is None
    assert memory.position("changes") is None
    memory.set_position("changes", 7)
    memory.set_position("changes", 9)
    assert memory.position("changes") == 9
