"""The detailed form of a result, as the command line and the API give it on request."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from inference.study_result import StudyResult


def details(result: StudyResult) -> dict[str, Any]:
    """How the study was decided, every member's named scores, the fusion's columns, series, seconds."""
    calibration = result.calibration
    return {
        "verdict": result.verdict,
        "operating_point": result.operating_point,
        "indeterminate_band": asdict(result.indeterminate) if result.indeterminate is not None else None,
        "probability": {
            "raw": calibration.raw_probability if calibration is not None else None,
            "calibrated": result.probability,
        },
        "calibration": asdict(calibration) if calibration is not None else None,
        "findings": [asdict(finding) for finding in result.findings],
        "member_scores": result.member_scores,
        "fusion": {
            "columns": {item.column: item.value for item in result.contributions},
            "contributions": {item.column: item.contribution for item in result.contributions},
        },
        "series": [asdict(decision) for decision in result.series],
        "warnings": list(result.warnings),
        "key_slices": [asdict(reference) for reference in result.key_slices],
        "measurements": [asdict(measurement) for measurement in result.measurements],
        "bundle": asdict(result.bundle),
        "runtime": asdict(result.runtime),
        "analysed_at": result.analysed_at,
        "seconds": result.seconds,
    }
