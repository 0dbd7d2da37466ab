"""Stored results: read back exactly, and those of earlier versions with what they did not say left open."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from inference.details import details
from inference.study_result import Calibration, Finding, ProbabilityBand, Runtime, StudyResult
from tests.structured_report.samples import ct_headers, study_result

CALIBRATION = Calibration(
    0.93, "platt", 1.2, -0.1, "Held-out studies", 200, 0.2, 0.15, 0.1, 0.03, "The probability is calibrated."
)


@pytest.fixture
def result() -> StudyResult:
    plain = study_result(ct_headers())
    return replace(
        plain,
        verdict="indeterminate",
        indeterminate=ProbabilityBand(0.4, 0.97),
        calibration=CALIBRATION,
        findings=(*plain.findings, Finding("Other pathology", 0.7, 0.5, True, 9, {}, umbrella=True)),
        runtime=Runtime("0.2.0", "2.13.0", "cuda:0", "float16", "A card", "13.0", "580.65"),
        bundle=replace(plain.bundle, calibration="platt 0123456789ab"),
    )


def through_json(result: StudyResult) -> dict[str, Any]:
    stored: dict[str, Any] = json.loads(json.dumps(result.to_json()))
    return stored


def test_a_result_is_read_back_as_it_was_stored(result: StudyResult) -> None:
    assert StudyResult.from_json(through_json(result)) == result


def test_a_result_of_an_earlier_version_is_read_with_its_gaps_open(result: StudyResult) -> None:
    stored = through_json(result)
    for name in ("verdict", "indeterminate", "calibration"):
        del stored[name]
    del stored["bundle"]["calibration"]
    for name in ("device_name", "cuda_version", "driver_version"):
        del stored["runtime"][name]
    for item in stored["findings"]:
        del item["umbrella"], item["region"]
    read = StudyResult.from_json(stored)
    assert (read.verdict, read.indeterminate, read.calibration) == (None, None, None)
    assert read.bundle.calibration == "none"
    assert (read.runtime.device, read.runtime.device_name, read.runtime.cuda_version) == ("cuda:0", "", "")
    assert not any(finding.umbrella for finding in read.findings)
    assert all(finding.region is None for finding in read.findings)
    assert (read.probability, read.decision) == (result.probability, result.decision)
    assert details(read)["probability"] == {"raw": None, "calibrated": result.probability}


def test_a_field_that_nobody_knows_is_not_read_over(result: StudyResult) -> None:
    with pytest.raises(TypeError, match="unheard"):
        StudyResult.from_json({**through_json(result), "unheard": 1})


def test_the_detailed_form_says_how_the_study_was_decided(result: StudyResult) -> None:
    form = json.loads(json.dumps(details(result)))
    assert form["verdict"] == "indeterminate"
    assert form["indeterminate_band"] == {"low": 0.4, "high": 0.97}
    assert form["probability"] == {"raw": 0.93, "calibrated": result.probability}
    table = form["calibration"]
    assert (table["method"], table["cohort"], table["cohort_size"]) == ("platt", "Held-out studies", 200)
    assert [table[f"{score}_{when}"] for score in ("brier", "ece") for when in ("before", "after")] == [
        0.2, 0.15, 0.1, 0.03
    ]  # fmt: skip
    assert form["bundle"]["calibration"] == "platt 0123456789ab"
    assert form["runtime"]["device_name"] == "A card"


def test_an_umbrella_comes_last_in_the_order_of_danger(result: StudyResult) -> None:
    present = sorted((item for item in result.findings if item.present), key=lambda item: item.danger)
    assert [item.name for item in present] == ["Other pathology", "Pleural effusion", "Lung nodule"]
