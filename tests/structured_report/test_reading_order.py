"""The most dangerous present finding is told first; among absent ones the likeliest."""

from __future__ import annotations

from inference.study_result import Finding
from structured_report.reading_order import in_reading_order


def test_present_findings_come_by_danger_then_absent_ones_by_probability() -> None:
    findings = [
        Finding("Absent, unlikely", 0.1, 0.5, False, 9, {}),
        Finding("Likely", 0.9, 0.5, True, 1, {}),
        Finding("Absent, likely", 0.4, 0.5, False, 1, {}),
        Finding("Severe", 0.6, 0.5, True, 5, {}),
        Finding("Severe, likely", 0.7, 0.5, True, 5, {}),
        Finding("Anything", 0.99, 0.5, True, 9, {}, umbrella=True),
    ]
    assert [finding.name for finding in in_reading_order(findings)] == [
        "Severe, likely",
        "Severe",
        "Likely",
        "Anything",
        "Absent, likely",
        "Absent, unlikely",
    ]
