"""The JSON answer about one upload, the same from `POST /predict` and `dicom-node predict`.

Keys and types are a contract; only `details`, which must be asked for, may grow.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from inference.details import details as result_details
from inference.study_result import SeriesDecision, StudyResult

DEMONSTRATION_NOTICE = "Demonstration networks trained on synthetic images: not for diagnosis."


def success_answer(
    result: StudyResult, time_of_processing_s: float, *, details: bool = False
) -> dict[str, Any]:
    """The answer about an analysed study."""
    answer: dict[str, Any] = {
        "study_uid": result.study_uid,
        "series_uid": result.series_uid,
        "probability_of_pathology": result.probability,
        "pathology": result.decision,
        "most_dangerous_pathology_type": result.most_dangerous,
        "processing_status": "Success",
        "time_of_processing": time_of_processing_s,
    }
    if details:
        answer["details"] = {"notice": notice(result), **result_details(result)}
    return answer


def failure_answer(
    code: str,
    sentence: str,
    time_of_processing_s: float,
    *,
    remedy: str | None = None,
    series: Iterable[SeriesDecision] | None = None,
) -> dict[str, Any]:
    """The answer about an upload that gave no result; `series` (details only): why none was chosen."""
    answer: dict[str, Any] = {
        "study_uid": "",
        "series_uid": "",
        "probability_of_pathology": None,
        "pathology": None,
        "most_dangerous_pathology_type": None,
        "processing_status": "Failure",
        "time_of_processing": time_of_processing_s,
        "error": f"{code}: {sentence}",
    }
    if series is not None:
        answer["details"] = {
            "code": code,
            "sentence": sentence,
            "remedy": remedy,
            "series": [asdict(decision) for decision in series],
        }
    return answer


def notice(result: StudyResult) -> str | None:
    """What must be said with every answer of a demonstration bundle, None for any other."""
    return DEMONSTRATION_NOTICE if result.bundle.demonstration else None
