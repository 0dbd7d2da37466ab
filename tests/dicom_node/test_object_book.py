"""Which objects were made of each key, and for whom."""

from __future__ import annotations

from pathlib import Path

import pytest

from dicom_node.ledger import Ledger
from dicom_node.ledger_records import NewWork, ObjectRecord, Purpose
from dicom_node.plan import WorkPlan

REPORT = ObjectRecord("1.9.1", "1.2.840.10008.5.1.4.1.1.88.34", "1.9", "1.2", "sr", 0, Path("sr.dcm"))
PICTURE = ObjectRecord("1.8.1", "1.2.840.10008.5.1.4.1.1.7", "1.8", "1.2", "sc", 1, Path("sc.dcm"))


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")


def enter(ledger: Ledger, key: str, purpose: Purpose) -> None:
    ledger.add(NewWork(key, "upload", WorkPlan("1.2", "", (), ()), purpose, key))


def test_objects_of_a_key_in_their_order_however_often_entered(ledger: Ledger) -> None:
    enter(ledger, "a", "archive")
    for made in ([PICTURE, REPORT], [REPORT]):
        ledger.objects.add("a", made)
        assert ledger.objects.of("a") == [REPORT, PICTURE]
    assert ledger.objects.of("b") == []


def test_what_the_node_made_is_known_as_its_own(ledger: Ledger) -> None:
    enter(ledger, "a", "archive")
    ledger.objects.add("a", [REPORT, PICTURE])
    assert ledger.objects.own_series(["1.2.9", "1.9"]) == {"1.9"}
    assert ledger.objects.key_of("1.8.1") == "a"
    assert ledger.objects.key_of("1.2.9.1") is None


def test_objects_for_a_caller_are_taken_back_once_and_those_of_the_archive_never(ledger: Ledger) -> None:
    enter(ledger, "caller", "objects")
    enter(ledger, "archive", "archive")
    ledger.objects.add("caller", [REPORT])
    ledger.objects.add("archive", [PICTURE])
    assert ledger.objects.unclaimed() == []
    assert ledger.reported("caller", "objects")
    assert ledger.reported("archive", "archive")
    assert ledger.objects.unclaimed() == ["caller"]
    assert ledger.objects.forget("archive") == []
    assert ledger.objects.of("archive") == [PICTURE]
    assert ledger.objects.forget("caller") == [REPORT.path]
    assert ledger.objects.forget("caller") == []
    assert ledger.objects.of("caller") == []
    assert ledger.objects.unclaimed() == []
    assert ledger.known("caller").purpose == "answer"
