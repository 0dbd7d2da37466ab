"""Answers in short: what a list says of a study without opening its result."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dicom_node.answer_book import answer_record
from dicom_node.ledger import Ledger
from dicom_node.ledger_records import NewWork
from dicom_node.plan import WorkPlan
from dicom_node.study_list import StudyFilter
from inference.series import SeriesChoice
from inference.study_result import Finding, StudyResult
from tests.dicom_node.stand_in import StandInAnalyser


@pytest.fixture
def result() -> StudyResult:
    return StandInAnalyser()._result("a" * 64, SeriesChoice("1.2", "1.2.3", ("1.2.3.4",), ()))


def _finding(name: str, *, present: bool, severity: int) -> Finding:
    return Finding(name, 0.7 if present else 0.1, 0.5, present, severity, {})


def test_the_finding_that_a_study_is_called_by_and_how_many_others(result: StudyResult) -> None:
    findings = (
        _finding("Emphysema", present=True, severity=2),
        _finding("Pneumothorax", present=True, severity=9),
        _finding("Atelectasis", present=False, severity=10),
    )
    record = answer_record(replace(result, findings=findings, most_dangerous="Pneumothorax"))
    assert (record.finding, record.finding_probability, record.others) == ("Pneumothorax", 0.7, 1)
    assert record.demonstration


def test_a_normal_study_shows_what_is_present_all_the_same(result: StudyResult) -> None:
    findings = (_finding("Emphysema", present=True, severity=2),)
    record = answer_record(replace(result, decision=0, most_dangerous=None, findings=findings))
    assert (record.verdict, record.finding, record.others) == ("normal", "Emphysema", 0)
    record = answer_record(replace(result, decision=0, most_dangerous=None, findings=()))
    assert (record.finding, record.finding_probability, record.others) == ("", None, 0)


def test_the_verdict_of_a_result_wins_over_its_decision(result: StudyResult) -> None:
    assert answer_record(result).verdict == "pathological"
    assert answer_record(replace(result, verdict="indeterminate")).verdict == "indeterminate"


def test_what_an_earlier_version_did_not_enter_is_missing_until_it_is(
    result: StudyResult, tmp_path: Path
) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    ledger.add(NewWork(result.key, "archive", WorkPlan("1.2", "", (), ()), "archive", "images"))
    assert ledger.answers.missing() == []
    ledger.reported(result.key, "archive")
    assert ledger.answers.missing() == [result.key]
    for _ in range(2):
        ledger.answers.note(result)
        assert ledger.answers.missing() == []
    (entry,) = ledger.studies.page(StudyFilter(), 1, 10).entries
    assert entry.answer == answer_record(result)
