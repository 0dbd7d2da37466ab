"""Lists of studies: one line a study, filters, pages, counts."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dicom_node.ledger import Ledger
from dicom_node.ledger_records import NewWork, ObjectRecord
from dicom_node.plan import WorkPlan
from dicom_node.rejection_notes import RejectionNote
from dicom_node.study_list import StudyFilter
from inference.errors import RefusalCode, SeriesRefusal
from inference.series import SeriesChoice
from tests.dicom_node.stand_in import StandInAnalyser

ANSWER = StandInAnalyser()._result("", SeriesChoice("1.2", "1.2.3", ("1.2.3.4",), ()))


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")


def enter(ledger: Ledger, key: str, study_uid: str, *, refused: bool = False) -> None:
    refusal = SeriesRefusal(RefusalCode.NO_LUNGS, "No lungs.") if refused else None
    ledger.add(NewWork(key, "archive", WorkPlan(study_uid, "", (), ()), "archive", key), refusal)


def report(ledger: Ledger, key: str, verdict: str) -> None:
    ledger.answers.note(replace(ANSWER, key=key, verdict=verdict))
    ledger.reported(key, "archive")


def keys(ledger: Ledger, wanted: StudyFilter, number: int = 1, size: int = 10) -> list[str]:
    return [entry.record.key for entry in ledger.studies.page(wanted, number, size).entries]


def test_a_study_is_one_line_with_its_newest_work(ledger: Ledger) -> None:
    for key, uid in [("a", "1.1"), ("b", "1.2"), ("c", "1.1")]:
        enter(ledger, key, uid)
    page = ledger.studies.page(StudyFilter(), 1, 10)
    assert [(entry.record.key, entry.works) for entry in page.entries] == [("c", 2), ("b", 1)]
    assert page.total == 2


def test_uploads_without_a_study_are_lines_of_their_own(ledger: Ledger) -> None:
    for key in ("a", "b"):
        enter(ledger, key, "", refused=True)
    assert keys(ledger, StudyFilter()) == ["b", "a"]


def test_pages_follow_each_other_without_gap(ledger: Ledger) -> None:
    for number in range(7):
        enter(ledger, f"k{number}", f"1.{number}")
    found = [key for number in (1, 2, 3) for key in keys(ledger, StudyFilter(), number, 3)]
    assert found == [f"k{number}" for number in reversed(range(7))]
    assert ledger.studies.page(StudyFilter(), 3, 3).total == 7


def test_groups_and_their_counts(ledger: Ledger) -> None:
    for number, key in enumerate(["queued", "working", "reported", "refused", "failing", "undelivered"]):
        enter(ledger, key, f"1.{number}", refused=key == "refused")
    ledger.enter("working", "analysing")
    ledger.failing("failing", "Orthanc is away", 5)
    for key in ("reported", "undelivered"):
        report(ledger, key, "normal")
        ledger.deliveries.add(key, "pacs")
    ledger.deliveries.failing("undelivered", "pacs", "away", 5)
    assert set(keys(ledger, StudyFilter(group="working"))) == {"queued", "working"}
    assert set(keys(ledger, StudyFilter(group="reported"))) == {"reported", "undelivered"}
    for group in ("refused", "failing", "undelivered"):
        assert keys(ledger, StudyFilter(group=group)) == [group]
    assert ledger.studies.counts() == {
        "working": 2, "reported": 2, "refused": 1, "failing": 1, "undelivered": 1, "rejected": 0,
    }  # fmt: skip


def test_what_is_being_retried_is_listed_and_what_failed_for_good_is_not(ledger: Ledger) -> None:
    for key, uid in [
        ("first", "1.1"),
        ("for good", "1.2"),
        ("earlier", "1.3"),
        ("later", "1.3"),
        ("new", "1.4"),
    ]:
        enter(ledger, key, uid)
    ledger.failing("for good", "it is no DICOM", None)
    for key in ("earlier", "later", "first"):
        ledger.failing(key, "Orthanc is away", 5)
    assert [record.key for record in ledger.studies.retried(2)] == ["first", "later"]
    assert [record.key for record in ledger.studies.retried(9)] == ["first", "later", "earlier"]
    assert ledger.backlog()["failing"] == 3


def test_what_was_rejected_is_found(ledger: Ledger) -> None:
    for key, uid in [("a", "1.1"), ("b", "1.2"), ("c", "1.3"), ("d", "1.4"), ("", "")]:
        enter(ledger, key or "upload", uid)
    made = [
        ObjectRecord(f"9.{number}", "1.2", "9", uid, "sr", 0, Path("sr.dcm"))
        for number, uid in enumerate(["1.1", "1.3"])
    ]
    ledger.objects.add("a", made[:1])
    ledger.objects.add("c", made[1:])
    for uid, rejected, images in [("1.1", "9.0", ()), ("1.2", "8.1", ("8.1",)), ("1.3", "9.1", ())]:
        note = RejectionNote(f"7.{uid}", "113001", frozenset({rejected}))
        ledger.feedback.record(uid, [note], images)
    enter(ledger, "again", "1.3")  # the results that were rejected are no longer the newest
    page = ledger.studies.page(StudyFilter(group="rejected"), 1, 10)
    assert [entry.record.key for entry in page.entries] == ["b", "a"]
    assert ledger.studies.counts()["rejected"] == 2
    everything = ledger.studies.page(StudyFilter(), 1, 10).entries
    assert {entry.record.key for entry in everything if entry.rejected} == {"a", "b"}


def test_verdict_date_and_uid_narrow_the_list(ledger: Ledger) -> None:
    for key, uid in [("a", "1.2.840.1"), ("b", "1.2.840.2"), ("c", "2.25.840_")]:
        enter(ledger, key, uid)
    report(ledger, "a", "pathological")
    report(ledger, "b", "indeterminate")
    ledger.answers.note(replace(ANSWER, key="c", verdict="pathological"))  # made, not reported yet
    assert keys(ledger, StudyFilter(verdict="pathological")) == ["a"]
    assert keys(ledger, StudyFilter(verdict="indeterminate")) == ["b"]
    now = datetime.now(UTC)
    assert keys(ledger, StudyFilter(since=now + timedelta(hours=1))) == []
    assert keys(ledger, StudyFilter(since=now - timedelta(hours=1), before=now + timedelta(hours=1))) == [
        "c", "b", "a",
    ]  # fmt: skip
    assert keys(ledger, StudyFilter(before=now - timedelta(hours=1))) == []
    assert keys(ledger, StudyFilter(uid_part="840.2")) == ["b"]
    # Nothing in a part of a UID is a wildcard.
    assert keys(ledger, StudyFilter(uid_part="840_")) == ["c"]
    assert keys(ledger, StudyFilter(uid_part="%")) == []
    assert keys(ledger, StudyFilter(uids=("1.2.840.1",))) == ["a"]
    assert keys(ledger, StudyFilter(uids=())) == []
