"""A result about a synthetic series, and what the validator says of an object."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from inference.study_result import ProbabilityBand, StudyResult
from structured_report import ReportContext
from tests.structured_report.samples import ct_headers, study_result


@pytest.fixture
def context() -> ReportContext:
    return ReportContext(installation_uid="1.2.826.0.1.3680043.8.498.99", timezone="Europe/Moscow")


@pytest.fixture
def headers() -> list[Dataset]:
    return ct_headers()


@pytest.fixture
def result(headers: list[Dataset]) -> StudyResult:
    return study_result(headers)


@pytest.fixture
def normal_result(result: StudyResult) -> StudyResult:
    findings = tuple(replace(finding, probability=0.05, present=False) for finding in result.findings)
    return replace(result, probability=0.04, decision=0, most_dangerous=None, findings=findings)


@pytest.fixture
def indeterminate_result(result: StudyResult) -> StudyResult:
    band = ProbabilityBand(0.45, 0.55)
    return replace(result, probability=0.52, verdict="indeterminate", indeterminate=band)


@pytest.fixture
def iod_errors(tmp_path: Path) -> Callable[[bytes], list[str]]:
    """What dciodvfy calls an error in an object."""

    def check(content: bytes) -> list[str]:
        path = tmp_path / "object.dcm"
        path.write_bytes(content)
        done = subprocess.run(
            ["dciodvfy", "-new", path], capture_output=True, text=True, check=False, timeout=120
        )
        output = done.stdout + done.stderr
        assert re.search(
            r"^(Comprehensive3DSR|ComprehensiveSR|EnhancedSR|SCImage|Segmentation|ParametricMap|KeyObjectSelectionDocument|EncapsulatedPDF)$",
            output,
            re.MULTILINE,
        ), output
        return [line for line in output.splitlines() if line.startswith("Error")]

    return check
