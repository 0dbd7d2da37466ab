"""Reports keep to the rows of their templates (`templates.py`), row by row and as a whole."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pytest
from pydicom.dataset import Dataset

from inference.study_result import Finding, ProbabilityBand, StudyResult
from structured_report import ReportContext
from structured_report.codes import laterality_code
from tests.structured_report.content import (
    ABSENT,
    FINDING,
    NAME,
    PRESENCE,
    PRESENT,
    REGION,
    SIDE,
    SITE,
    SOURCE,
    SOURCE_OF_MEASUREMENT,
    TRACKING,
    built,
    children,
    coded,
    groups,
    written,
)
from tests.structured_report.samples import ct_headers, located, result_of_many, study_result
from tests.structured_report.templates import (
    MODIFIER,
    PARTS,
    Part,
    Row,
    departures,
    group,
    of_template,
    row_departures,
)

CASES = [pytest.param(part, row, id=f"{part.name}, {row.row}") for part in PARTS for row in part.rows]
CONTEXT = ReportContext(installation_uid="1.2.826.0.1.3680043.8.498.99")


def made(result: StudyResult, headers: list[Dataset], context: ReportContext = CONTEXT) -> Dataset:
    return written(built(result, headers, context))


@pytest.fixture(scope="module")
def reports() -> dict[str, Dataset]:
    """Reports that between them use every row."""
    headers = ct_headers(6)
    result = study_result(headers)
    band = ProbabilityBand(0.9, 0.99)
    findings = tuple(replace(finding, present=False, probability=0.01) for finding in result.findings)
    unnamed = (Finding("A finding of another bundle", 0.9, 0.5, True, 1, {}),)
    untold = replace(result, warnings=("Nobody translated this.",))
    many = result_of_many(headers, [f"Finding {number}" for number in range(70)])
    bare = ct_headers(2)
    for header in bare:
        for keyword in ("FrameOfReferenceUID", "PixelSpacing", "SliceThickness"):
            delattr(header, keyword)
    russian = replace(CONTEXT, language="ru")
    return {
        "of everything": made(result, headers),
        "indeterminate": made(replace(result, verdict="indeterminate", indeterminate=band), headers),
        "normal": made(replace(result, findings=findings, decision=0, most_dangerous=None), headers),
        "without findings": made(replace(result, findings=(), most_dangerous=None), headers),
        "without quantities": made(replace(result, measurements=(), contributions=()), headers),
        "of a name that nobody coded": made(replace(result, findings=unnamed, most_dangerous=None), headers),
        "of 70 findings": made(many, headers),
        "of one algorithm": made(replace(result, algorithms=()), headers),
        "of regions alone": made(located(result), headers),
        "about images that say little": made(study_result(bare), bare),
        "in Russian": made(untold, headers, russian),
    }


@pytest.fixture(scope="module")
def report(reports: dict[str, Dataset]) -> Dataset:
    return reports["of everything"]


@pytest.mark.parametrize(("part", "row"), CASES)
def test_a_row_is_there_as_often_as_it_may_with_values_of_its_context_group(
    part: Part, row: Row, reports: dict[str, Dataset]
) -> None:
    for report in reports.values():
        assert row_departures(part, row, report) == []
    # A row that no report of ours uses is to be taken off the table.
    assert any(
        children(parent, row.name, row.value_type)
        for report in reports.values()
        for parent in part.parents(report)
    )


def test_nothing_stands_where_no_row_has_it(reports: dict[str, Dataset]) -> None:
    assert len(reports) == 11
    for kind, report in reports.items():
        assert departures(report) == [], kind


def damaged(report: Dataset, damage: str) -> Dataset:
    changed = deepcopy(report)
    items = changed.ContentSequence
    study = next(item for item in of_template("1501")(changed) if children(item, NAME))
    match damage:
        case "no language":
            del items[0]
        case "observer's name before its UID":
            items[2], items[3] = items[3], items[2]
        case "another title":
            changed.ConceptNameCodeSequence[0].CodeValue = "18748-4"
        case "two presences":
            study.ContentSequence.append(children(study, PRESENCE)[0])
        case "a presence of another group":
            children(study, PRESENCE)[0].ConceptCodeSequence[0].CodeValue = "373121007"
        case "algorithm's version before its name":
            names = [place for place, item in enumerate(study.ContentSequence) if item.ValueType == "TEXT"]
            first, second = names[1:3]
            study.ContentSequence[first], study.ContentSequence[second] = (
                study.ContentSequence[second],
                study.ContentSequence[first],
            )
        case "a number below the root":
            items.append(next(item for item in study.ContentSequence if item.ValueType == "NUM"))
        case "a container of running text":
            items[-1].ContinuityOfContent = "CONTINUOUS"
        case "a point without its image":
            number = next(item for item in study.ContentSequence if item.ValueType == "NUM")
            (point,) = children(number, SOURCE_OF_MEASUREMENT)
            del point.ContentSequence
    return changed


@pytest.mark.parametrize(
    "damage",
    [
        "no language",
        "observer's name before its UID",
        "another title",
        "two presences",
        "a presence of another group",
        "algorithm's version before its name",
        "a number below the root",
        "a container of running text",
        "a point without its image",
    ],
)
def test_the_table_sees_what_is_wrong(damage: str, report: Dataset) -> None:
    assert departures(report) == []
    assert departures(damaged(report, damage)) != []


def test_what_we_choose_ourselves_is_of_the_baseline_context_groups(report: Dataset) -> None:
    """TID 1500 rows 4 and 9: where the source names no procedure, and what a number was inferred from."""
    (procedure,) = children(report, ("121058", "DCM"))
    assert coded(procedure.ConceptCodeSequence) in group(100)
    assert SOURCE_OF_MEASUREMENT in group(7551)


def test_laterality_below_a_site_is_of_context_group_244(report: Dataset) -> None:
    """TID 1501 row 7, TID 1419 row 3."""
    sites = [site for item in groups(report) for site in children(item, SITE)]
    sides = [side for site in sites for side in children(site, SIDE)]
    assert len(sides) == 2
    for side in sides:
        assert side.RelationshipType == MODIFIER
        assert coded(side.ConceptCodeSequence) in group(244)
    assert {("7771000", "SCT"), ("24028007", "SCT"), ("51440002", "SCT")} <= group(244)
    assert (laterality_code("bilateral").value, "SCT") in group(244)


def test_the_region_is_a_closed_polyline_of_at_least_three_corners(report: Dataset) -> None:
    """TID 1410 row 5: no MULTIPOINT; a region of PS3.3 C.18.6 is a closed polyline."""
    (with_region,) = of_template("1410")(report)
    (region,) = children(with_region, REGION)
    assert region.GraphicType == "POLYLINE"
    points = list(zip(region.GraphicData[::2], region.GraphicData[1::2], strict=True))
    assert points[0] == points[-1]
    assert len(set(points)) >= 3
    (image,) = children(region, SOURCE, "IMAGE")
    assert image.RelationshipType == "SELECTED FROM"


def test_a_finding_that_nobody_coded_has_a_private_code(reports: dict[str, Dataset]) -> None:
    (item,) = [
        one
        for one in groups(reports["of a name that nobody coded"])
        if children(one, TRACKING)[0].TextValue == "A finding of another bundle"
    ]
    assert coded(children(item, FINDING)[0].ConceptCodeSequence)[1] == "99DICOMNODE"
    assert {PRESENT, ABSENT} <= group(240)
    assert coded(children(item, PRESENCE)[0].ConceptCodeSequence) == PRESENT
