"""No error of `dciodvfy` on any object: about every series of the test data, and about fifty synthetic ones.

The structured report about them stands in test_validators; here are the objects beside it, and those of a
refused study. Pixels are few: what a validator reads is the header.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from inference.study_result import SliceReference, StudyResult
from phantom.cases import DEMO_SEEDS, draw_case
from phantom.grid import centred_grid
from phantom.studies import chest_study
from structured_report import (
    Attention,
    KeySliceImages,
    ObjectKind,
    Overview,
    RefusedStudy,
    ReportContext,
    ReportObject,
    build_objects,
    refusal_objects,
)
from tests.structured_report.samples import study_result
from tests.structured_report.test_validators import ILLEGAL_UID, SYNTHETIC, drawn_result, series_below

BESIDE: tuple[ObjectKind, ...] = ("sc", "kos", "seg", "pm", "pdf")
SIDE = 64


def of_one_finding(headers: list[Dataset]) -> StudyResult:
    """A result with one finding on one slice, so that there is one key image."""
    frames = 1 if "NumberOfFrames" in headers[0] else None
    result = study_result(headers, frame_number=frames)
    (located,) = (item for item in result.findings if item.region is not None)
    assert located.best_slice is not None
    best = replace(located.best_slice, row=20.0, column=30.0)
    finding = replace(located, best_slice=best, region=None)
    return replace(result, findings=(finding,), key_slices=(best,), most_dangerous=located.name)


def attention(finding: str, at: SliceReference, shape: tuple[int, int]) -> Attention:
    """A square on one slice, and a map of a few places."""
    mask = np.zeros(shape, dtype=bool)
    mask[:10, :10] = True
    affine = np.diag([10.0, 10.0, 10.0, 1.0])
    return Attention(
        finding, {(at.sop_instance_uid, at.frame_number): mask}, np.ones((2, 4, 4), np.float32), affine
    )


def objects_about(result: StudyResult, headers: list[Dataset], context: ReportContext) -> list[ReportObject]:
    """All that stands beside the report, and what is made where the study is refused."""
    slices = {item.index: np.full((SIDE, SIDE), -800, np.int16) for item in result.key_slices}
    at = result.key_slices[0]
    header = next(item for item in headers if item.SOPInstanceUID == at.sop_instance_uid)
    looked = [attention(result.findings[0].name, at, (int(header.Rows), int(header.Columns)))]
    overview = Overview(np.full((20, 30), -850, np.int16), (3.0, 2.0), ((5, "1"),))
    why = ("not_axial", "The images lie 90 degrees from the axial plane.", "Send the axial series.")
    refused = RefusedStudy("5e" * 32, result.study_uid, *why, result.analysed_at, "0.1.0")
    return [
        *build_objects(
            result,
            headers,
            KeySliceImages(slices, (0.7, 0.7)),
            context,
            attention=looked,
            overview=overview,
            kinds=BESIDE,
        ),
        *refusal_objects(refused, headers, context, kinds=("sr", "sc")),
    ]


def wrong_ones(
    made: list[ReportObject], headers: list[Dataset], iod_errors: Callable[[bytes], list[str]]
) -> dict[tuple[str, int], list[str]]:
    """Errors by kind and place; every kind must have been made that can be."""
    placed = all(header.get("FrameOfReferenceUID") for header in headers)
    thick = len(headers) > 1 or "NumberOfFrames" in headers[0] or headers[0].get("SliceThickness")
    impossible = {"pm", "seg"} if not placed else set() if thick else {"seg"}
    assert {item.kind for item in made} == {*BESIDE, "sr"} - impossible
    checked = {(item.kind, number): iod_errors(item.to_bytes()) for number, item in enumerate(made)}
    return {which: errors for which, errors in checked.items() if errors}


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_every_series_of_the_test_data(
    ct_data: Path, context: ReportContext, iod_errors: Callable[[bytes], list[str]]
) -> None:
    wrong = {}
    series = series_below(ct_data)
    assert len(series) >= 20
    for key, headers in series.items():
        found = wrong_ones(objects_about(of_one_finding(headers), headers, context), headers, iod_errors)
        if found:
            wrong[key] = found
    # One file carries UIDs under a root that does not exist: objects must stay in its study all the same.
    (illegal,) = (wrong.pop(key) for key in list(wrong) if ILLEGAL_UID in key)
    assert all(f"<{ILLEGAL_UID}>" in error for errors in illegal.values() for error in errors)
    assert wrong == {}


def test_fifty_synthetic_series(context: ReportContext, iod_errors: Callable[[bytes], list[str]]) -> None:
    wrong = {}
    grid = centred_grid((24.0, 24.0, 24.0), (14, 16, 16))
    for number, seed in enumerate(DEMO_SEEDS[:SYNTHETIC]):
        headers = list(chest_study(draw_case(seed), grid=grid, salt=str(seed)).datasets())
        drawn = drawn_result(headers, number)
        reference = SliceReference(number % 14, headers[number % 14].SOPInstanceUID, None, 8.0, 8.0)
        result = replace(drawn, key_slices=(reference,))
        told = replace(context, language="ru" if number % 2 else "en")
        found = wrong_ones(objects_about(result, headers, told), headers, iod_errors)
        if found:
            wrong[seed] = found
    assert wrong == {}
