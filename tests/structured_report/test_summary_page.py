"""The summary page: every finding, the overview, and the words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from io import BytesIO

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from inference.study_result import Measurement, StudyResult
from structured_report import ReportContext
from structured_report.summary_drawing import Bar, Overview, draw_summary
from structured_report.summary_page import summary_pages, summary_picture
from tests.structured_report.attention import basis
from tests.structured_report.samples import result_of_many

AMBER = (255, 191, 64)


def overview(rows: int = 60, columns: int = 120) -> Overview:
    return Overview(np.full((rows, columns), -850, np.int16), (3.0, 2.0), ((20, "1"), (21, "2")))


def test_a_bar_is_as_long_as_its_probability(
    result: StudyResult, headers: list[Dataset], context: ReportContext
) -> None:
    base = basis(result, headers, context)
    lengths = {}
    for probability in (0.6, 0.9):
        findings = [replace(result.findings[1], probability=probability, operating_point=0.0)]
        page = draw_summary(summary_picture(base, findings, None, (1, 1)))
        rows = (page[240:, 400:538] == AMBER).all(axis=2).sum(axis=1)
        lengths[probability] = int(rows.max())
    assert lengths[0.9] - lengths[0.6] == pytest.approx(0.3 * 170, abs=1.5)


def test_every_finding_has_a_bar_on_one_of_the_pages(headers: list[Dataset], context: ReportContext) -> None:
    names = [f"Finding {number}" for number in range(55)]
    result = result_of_many(headers, names)
    made = summary_pages(basis(result, headers, context), overview(), after=4)
    assert [item.dataset.InstanceNumber for item in made] == [5, 6, 7]
    assert len({item.sop_instance_uid for item in made}) == 3
    shown = [
        bar.name
        for part in (result.findings[:24], result.findings[24:48], result.findings[48:])
        for bar in summary_picture(basis(result, headers, context), part, None, (1, 3)).bars
    ]
    assert sorted(shown) == sorted(names)


def test_the_overview_is_drawn_with_its_marks(
    result: StudyResult, headers: list[Dataset], context: ReportContext
) -> None:
    base = basis(result, headers, context)
    with_it, without = (
        draw_summary(summary_picture(base, result.findings, item, (1, 1))).astype(int)
        for item in (overview(), None)
    )

    def lines(page: NDArray[np.int64]) -> int:
        return int(((page[240:, 680:] == AMBER).all(axis=2).sum(axis=1) > 200).sum())

    assert lines(with_it) >= 4, "two lines of two pixels"
    assert lines(without) == 0


def test_measurements_stand_beside_in_their_units(
    result: StudyResult, headers: list[Dataset], context: ReportContext
) -> None:
    measured = (
        Measurement("Mean lung density", -827.41, "[hnsf'U]", ""),
        Measurement("LAA-950", 13.36, "%", ""),
    )
    base = basis(replace(result, measurements=measured), headers, context)
    facts = summary_picture(base, [], None, (1, 1)).facts
    assert facts == (("Mean lung density", "−827 HU"), ("LAA-950", "13.4 %"))


def test_an_indeterminate_study_stands_out_and_says_so(
    indeterminate_result: StudyResult, headers: list[Dataset], context: ReportContext
) -> None:
    picture = summary_picture(basis(indeterminate_result, headers, context), [], None, (1, 1))
    assert picture.emphasised
    assert picture.lines[0] == "Whole study: indeterminate, operating point 50.0 %"


@pytest.mark.parametrize("language", ["en", "ru"])
def test_validator_finds_no_error(
    language: str,
    result: StudyResult,
    headers: list[Dataset],
    iod_errors: Callable[[bytes], list[str]],
) -> None:
    context = ReportContext("1.2.3", language=language)  # type: ignore[arg-type]
    (page,) = summary_pages(basis(result, headers, context), overview(), after=2)
    assert iod_errors(page.to_bytes()) == []
    read = pydicom.dcmread(BytesIO(page.to_bytes()))
    assert "PixelSpacing" not in read
    assert (read.BurnedInAnnotation, read.BodyPartExamined) == ("NO", "CHEST")
    assert len(read.SourceImageSequence) == 2


def test_a_long_name_of_a_measurement_has_a_line_of_its_own(
    result: StudyResult, headers: list[Dataset], context: ReportContext
) -> None:
    """Beside its value it would be shrunk until nobody could read it."""
    picture = summary_picture(basis(result, headers, context), [], None, (1, 1))
    short = draw_summary(replace(picture, facts=(("LAA-950", "3.4 %"),)))
    long = draw_summary(replace(picture, facts=(("Средняя плотность лёгких", "−900 ед. Н"),)))
    assert len(long) - len(short) == 34
    letters = np.flatnonzero((long[:, 668:] > 100).any(axis=(1, 2)))
    assert np.diff(letters).max() > 8  # two lines


def test_a_long_name_of_a_finding_takes_two_lines(
    result: StudyResult, headers: list[Dataset], context: ReportContext
) -> None:
    picture = summary_picture(basis(result, headers, context), [], None, (1, 1))
    heights = {}
    for name in ("Nodule", "An unusually long name of a finding from a bundle"):
        bar = Bar(name, probability=0.5, operating_point=0.4, text="50 %", present=True)
        page = draw_summary(replace(picture, bars=(bar,)))
        empty = draw_summary(replace(picture, bars=(replace(bar, name=""),)))
        rows = np.flatnonzero((page[:, :360] != empty[:, :360]).any(axis=(1, 2)))
        heights[name] = int(rows[-1] - rows[0])
    one, two = heights.values()
    assert one < 25 < two < 36  # the height of a row
