"""The saliency in its own grid: values, place in the patient, and what it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from io import BytesIO

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from inference.study_result import StudyResult
from structured_report import ReportContext
from structured_report.parametric_map import parametric_maps
from tests.structured_report.attention import attention, basis


def test_values_and_their_place_in_the_patient(
    result: StudyResult, headers: list[Dataset], context: ReportContext
) -> None:
    items = attention(result)
    for made, item in zip(parametric_maps(basis(result, headers, context), items), items, strict=True):
        read = pydicom.dcmread(BytesIO(made.to_bytes()))
        values = np.frombuffer(read.FloatPixelData, "<f4").reshape(8, 24, 24)
        frame, row, column = np.unravel_index(int(values.argmax()), values.shape)
        position = read.PerFrameFunctionalGroupsSequence[frame].PlanePositionSequence[0].ImagePositionPatient
        shared = read.SharedFunctionalGroupsSequence[0]
        cosines = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
        spacing = shared.PixelMeasuresSequence[0].PixelSpacing
        place = np.array(position, float) + cosines[:3] * spacing[1] * column + cosines[3:] * spacing[0] * row
        highest = np.unravel_index(int(item.values.argmax()), item.values.shape)
        np.testing.assert_allclose(place, (item.affine @ [*highest, 1])[:3], atol=1e-3)
        assert values[frame, row, column] == item.values[highest]
        assert np.count_nonzero(values) == np.count_nonzero(item.values)
        mapping = shared.RealWorldValueMappingSequence[0]
        assert mapping.LUTExplanation == f"AI attention: {item.finding}"
        assert (mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept) == (1.0, 0.0)


def test_validator_finds_no_error(
    result: StudyResult,
    headers: list[Dataset],
    context: ReportContext,
    iod_errors: Callable[[bytes], list[str]],
) -> None:
    made = parametric_maps(basis(result, headers, context), attention(result))
    assert len(made) == 2
    for item in made:
        assert iod_errors(item.to_bytes()) == []
        assert item.dataset.SeriesNumber == 9004


def test_a_map_without_values_is_left_out(
    result: StudyResult, headers: list[Dataset], context: ReportContext
) -> None:
    items = [replace(item, values=np.zeros((2, 3, 4), np.float32)) for item in attention(result)]
    assert parametric_maps(basis(result, headers, context), items) == []


def test_a_map_that_is_too_large_is_made_coarser_and_says_so(
    result: StudyResult, headers: list[Dataset], context: ReportContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("structured_report.parametric_map.LARGEST_BYTES", 40_000)
    values = np.zeros((11, 60, 51), np.float32)
    values[7, 31, 50] = 0.75
    whole = attention(result)[0]
    (made,) = parametric_maps(basis(result, headers, context), [replace(whole, values=values)])
    content = made.to_bytes()
    assert len(content) < 40_000
    read = pydicom.dcmread(BytesIO(content))
    assert (read.NumberOfFrames, read.Rows, read.Columns) == (6, 30, 26)
    assert read.ContentLabel == "SALIENCY_1_2"
    (shared,) = read.SharedFunctionalGroupsSequence
    assert list(shared.PixelMeasuresSequence[0].PixelSpacing) == [30, 30]
    peak = np.frombuffer(read.FloatPixelData, "<f4").reshape(6, 30, 26)
    ((frame, row, column),) = np.argwhere(peak == 0.75)
    assert (row, column) == (15, 25)
    position = read.PerFrameFunctionalGroupsSequence[frame].PlanePositionSequence[0].ImagePositionPatient
    # The middle of places 6 and 7, and of the first two along the others.
    np.testing.assert_allclose(position, (whole.affine @ [6.5, 0.5, 0.5, 1])[:3], atol=1e-3)
    plain, *_ = parametric_maps(basis(result, headers, context), attention(result))
    assert plain.dataset.ContentLabel == "SALIENCY"


def test_same_result_makes_the_same_bytes(
    result: StudyResult, headers: list[Dataset], context: ReportContext
) -> None:
    first, second = (
        [item.to_bytes() for item in parametric_maps(basis(result, headers, context), attention(result))]
        for _ in range(2)
    )
    assert first == second
