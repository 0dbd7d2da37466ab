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
from structured_report.parametric_map import LARGEST_BYTES, parametric_maps
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


@pytest.mark.parametrize("values", [np.zeros((2, 3, 4), np.float32), np.ones((1, 1, LARGEST_BYTES // 4 + 1))])
def test_a_map_without_values_or_too_large_is_left_out(
    values: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
    result: StudyResult,
    headers: list[Dataset],
    context: ReportContext,
) -> None:
    items = [replace(item, values=values) for item in attention(result)]
    assert parametric_maps(basis(result, headers, context), items) == []


def test_same_result_makes_the_same_bytes(
    result: StudyResult, headers: list[Dataset], context: ReportContext
) -> None:
    first, second = (
        [item.to_bytes() for item in parametric_maps(basis(result, headers, context), attention(result))]
        for _ in range(2)
    )
    assert first == second
