"""Rows of the templates that the report uses, as a table: relationship, type, concept, number, value set.

Rows are those of PS3.16 (TID 1500, 1204, 1001 to 1004, 1600 to 1604, 1501, 1410, 1419, 300, 320, 4019); value
sets are its context groups as pydicom carries them. Every item of the report must be one that a row names, so
that what no template has is seen too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sr._cid_dict import cid_concepts
from pydicom.sr._concepts_dict import concepts

from inference.study_result import Finding, StudyResult
from structured_report import ReportContext
from structured_report.codes import finding_codes, laterality_code
from tests.structured_report.content import (
    ABSENT,
    COMMENT,
    CONCLUSION,
    FINDING,
    LANGUAGE,
    LIBRARY,
    LIBRARY_GROUP,
    MANUFACTURER,
    MEASUREMENTS,
    NAME,
    PARAMETER,
    PRESENCE,
    PRESENT,
    PROBABILITY,
    REGION,
    SIDE,
    SITE,
    SOURCE,
    SOURCE_OF_MEASUREMENT,
    TRACKING,
    TRACKING_UID,
    VERSION,
    WORDS,
    Code,
    built,
    children,
    coded,
    groups,
    name_of,
    written,
)
from tests.structured_report.samples import ct_headers, study_result

MANY = 1000
MODIFIER, OBSERVATION = "HAS CONCEPT MOD", "HAS OBS CONTEXT"
ACQUISITION, CONTAINS = "HAS ACQ CONTEXT", "CONTAINS"


@dataclass(frozen=True)
class Row:
    """A row: of which template, how often below one parent, and the context group of its value or unit."""

    row: str
    relationship: str
    value_type: str
    name: Code
    least: int
    most: int
    cid: int | None = None
    values: frozenset[Code] | None = None

    def allowed(self) -> frozenset[Code] | None:
        return group(self.cid) if self.cid is not None else self.values


def group(cid: int) -> frozenset[Code]:
    """The codes of a context group of PS3.16."""
    return frozenset(
        (value, scheme)
        for scheme, keywords in cid_concepts[cid].items()
        for keyword in keywords
        for value, (_, listed) in concepts[scheme][keyword].items()
        if cid in listed
    )


def dcm(value: str) -> Code:
    return value, "DCM"


MOST_DANGEROUS = ("most-dangerous", "99DICOMNODE")
METHOD, DERIVATION = ("370129005", "SCT"), dcm("121401")
QUANTITIES_CODE = ("quantities", "99DICOMNODE")
FINDINGS = frozenset(
    {(item.code.value, item.code.scheme_designator) for item in finding_codes().values()}
    | {("pathology", "99DICOMNODE"), QUANTITIES_CODE}
)
SITES = frozenset(
    (item.site.value, item.site.scheme_designator) for item in finding_codes().values() if item.site
)

ROOT = [
    Row(
        "TID 1204 row 1", MODIFIER, "CODE", LANGUAGE, 1, 1, values=frozenset({("en", "RFC5646")})
    ),  # CID 5000
    Row("TID 1002 row 1", OBSERVATION, "CODE", dcm("121005"), 1, 1, cid=270),
    Row("TID 1004 row 1", OBSERVATION, "UIDREF", dcm("121012"), 1, 1),
    Row("TID 1004 row 2", OBSERVATION, "TEXT", dcm("121013"), 0, 1),
    Row("TID 1004 row 3", OBSERVATION, "TEXT", dcm("121014"), 1, 1),  # required by IHE AIR
    Row("TID 1004 row 4", OBSERVATION, "TEXT", dcm("121015"), 1, 1),  # required by IHE AIR
    Row("TID 1500 row 4", MODIFIER, "CODE", dcm("121058"), 1, MANY, cid=100),
    Row("TID 1600 row 1", CONTAINS, "CONTAINER", LIBRARY, 1, 1),
    Row("TID 1500 row 6", CONTAINS, "CONTAINER", MEASUREMENTS, 1, 1),
    Row("TID 1500 row 12", CONTAINS, "CONTAINER", WORDS, 1, 1),
]
IMAGE_GROUP = [
    Row("TID 1602 row 1", ACQUISITION, "CODE", dcm("121139"), 1, 1, cid=29),
    Row("TID 1602 row 10", ACQUISITION, "UIDREF", dcm("112227"), 1, 1),
    Row("TID 1602 row 11", ACQUISITION, "NUM", dcm("110910"), 1, 1),
    Row("TID 1602 row 12", ACQUISITION, "NUM", dcm("110911"), 1, 1),
    Row("TID 1604 row 1", ACQUISITION, "NUM", dcm("111026"), 1, 1),
    Row("TID 1604 row 2", ACQUISITION, "NUM", dcm("111066"), 1, 1),
    Row("TID 1604 row 4", ACQUISITION, "NUM", dcm("112225"), 1, 1),
    Row("TID 1601 row 1", CONTAINS, "IMAGE", SOURCE, 1, MANY),
]
SENTENCES = [
    Row("TID 1500 row 14, conclusion", CONTAINS, "TEXT", CONCLUSION, 1, 1),
    Row("TID 1500 row 14, comment", CONTAINS, "TEXT", COMMENT, 1, MANY),
]
ALGORITHM = [
    Row("TID 4019 row 1", MODIFIER, "TEXT", NAME, 1, 1),
    Row("TID 4019 row 2", MODIFIER, "TEXT", VERSION, 1, 1),
    Row("TID 4019 row 2b", MODIFIER, "TEXT", MANUFACTURER, 1, 1),  # required by IHE AIR
    Row("TID 4019 row 3", MODIFIER, "TEXT", PARAMETER, 1, 12),
]
UNLOCATED = [
    Row("TID 1501 row 2", OBSERVATION, "TEXT", TRACKING, 1, 1),
    Row("TID 1501 row 3", OBSERVATION, "UIDREF", TRACKING_UID, 1, 1),
    Row("TID 1501 row 3b", CONTAINS, "CODE", FINDING, 1, 1, values=FINDINGS),
    Row("TID 1501 row 6", MODIFIER, "CODE", SITE, 0, 1, values=SITES),
    *ALGORITHM,  # row 9b
    Row("TID 1501 row 10", CONTAINS, "NUM", PROBABILITY, 1, 1, cid=7181),
    Row("TID 1501 row 10b", CONTAINS, "IMAGE", SOURCE_OF_MEASUREMENT, 1, 1),
    Row("TID 1501 row 11", CONTAINS, "CODE", PRESENCE, 1, 1, cid=240),
    Row("TID 1501 row 11, most dangerous", CONTAINS, "CODE", MOST_DANGEROUS, 0, 1, values=FINDINGS),
    Row("TID 1501 row 12", CONTAINS, "TEXT", COMMENT, 0, 4),
]
LOCATED = [
    Row("TID 1410 row 2", OBSERVATION, "TEXT", TRACKING, 1, 1),
    Row("TID 1410 row 3", OBSERVATION, "UIDREF", TRACKING_UID, 1, 1),
    Row("TID 1410 row 3b", CONTAINS, "CODE", FINDING, 1, 1, values=FINDINGS),
    Row("TID 1410 row 3c", CONTAINS, "CODE", dcm("130400"), 1, 1, cid=219),
    Row("TID 1410 row 5", CONTAINS, "SCOORD", REGION, 1, 1),
    Row("TID 1419 row 2", MODIFIER, "CODE", SITE, 0, 1, values=SITES),
    *ALGORITHM,  # by extension: TID 1419 has it below each number
    Row("TID 1419 row 5", CONTAINS, "NUM", PROBABILITY, 1, 1, cid=7181),
    Row("TID 1410, qualitative evaluation", CONTAINS, "CODE", PRESENCE, 1, 1, cid=240),
    Row("TID 1410, comment", CONTAINS, "TEXT", COMMENT, 1, 4),
]
QUANTITIES = [
    replace(
        row, least=0 if row.name == PARAMETER else row.least, most=20 if row.name == COMMENT else row.most
    )
    for row in UNLOCATED
    if row.name not in {PRESENCE, PROBABILITY}
]
NUMBER = [
    Row("TID 300 row 3", MODIFIER, "CODE", METHOD, 0, 1),
    Row("TID 300 row 4", MODIFIER, "CODE", DERIVATION, 0, 1, cid=7464),
    Row("TID 320 row 3", "INFERRED FROM", "SCOORD", SOURCE, 1, 1),
]
SELECTED = [Row("TID 320 row 4", "SELECTED FROM", "IMAGE", SOURCE, 1, 1)]


@dataclass(frozen=True)
class Part:
    """Parents of one kind, the rows below them, and whether other rows of number items may stand there."""

    name: str
    parents: Callable[[Dataset], list[Dataset]]
    rows: list[Row]
    other_numbers: bool = False


def of_template(identifier: str, *, quantities: bool = False) -> Callable[[Dataset], list[Dataset]]:
    def parents(report: Dataset) -> list[Dataset]:
        return [
            item
            for item in groups(report)
            if item.ContentTemplateSequence[0].TemplateIdentifier == identifier
            and (coded(children(item, FINDING)[0].ConceptCodeSequence) == QUANTITIES_CODE) == quantities
        ]

    return parents


def numbers(report: Dataset) -> Iterator[Dataset]:
    for item in (*of_template("1501")(report), *of_template("1501", quantities=True)(report)):
        yield from (child for child in item.ContentSequence if child.ValueType == "NUM")


def coordinates(report: Dataset) -> list[Dataset]:
    points = [child for number in numbers(report) for child in children(number, SOURCE)]
    return [*points, *(region for item in groups(report) for region in children(item, REGION))]


def image_groups(report: Dataset) -> list[Dataset]:
    return children(children(report, LIBRARY)[0], LIBRARY_GROUP)


PARTS = [
    Part("root", lambda report: [report], ROOT),
    Part("image library", image_groups, IMAGE_GROUP),
    Part("sentences", lambda report: children(report, WORDS), SENTENCES),
    Part("unlocated", of_template("1501"), UNLOCATED),
    Part("located", of_template("1410"), LOCATED),
    Part("quantities", of_template("1501", quantities=True), QUANTITIES, other_numbers=True),
    Part("numbers", lambda report: list(numbers(report)), NUMBER),
    Part("coordinates", coordinates, SELECTED),
]
CASES = [pytest.param(part, row, id=f"{part.name}, {row.row}") for part in PARTS for row in part.rows]


@pytest.fixture(scope="module")
def report() -> Dataset:
    headers = ct_headers(6)
    result = study_result(headers)
    context = ReportContext(installation_uid="1.2.826.0.1.3680043.8.498.99")
    return written(built(result, headers, context))


@pytest.mark.parametrize(("part", "row"), CASES)
def test_a_row_is_there_as_often_as_it_may_with_values_of_its_context_group(
    part: Part, row: Row, report: Dataset
) -> None:
    parents = part.parents(report)
    assert parents
    for parent in parents:
        found = children(parent, row.name, row.value_type)
        assert row.least <= len(found) <= row.most
        for item in found:
            assert item.RelationshipType == row.relationship
            check_value(item, row.allowed())


def check_value(item: Dataset, allowed: frozenset[Code] | None) -> None:
    match item.ValueType:
        case "CODE":
            assert allowed is None or coded(item.ConceptCodeSequence) in allowed
        case "NUM":
            (measured,) = item.MeasuredValueSequence
            assert str(measured.NumericValue)
            assert allowed is None or coded(measured.MeasurementUnitsCodeSequence) in allowed
        case "TEXT":
            assert item.TextValue
        case "UIDREF":
            assert pydicom.uid.UID(item.UID).is_valid
        case "IMAGE":
            (reference,) = item.ReferencedSOPSequence
            assert pydicom.uid.UID(reference.ReferencedSOPInstanceUID).is_valid
        case "CONTAINER":
            assert item.ContinuityOfContent in {"SEPARATE", "CONTINUOUS"}


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_nothing_stands_where_no_row_has_it(part: Part, report: Dataset) -> None:
    known = {(row.relationship, row.value_type, row.name) for row in part.rows}
    for parent in part.parents(report):
        for item in parent.get("ContentSequence", []):
            if part.other_numbers and item.ValueType == "NUM":
                continue
            assert (item.RelationshipType, item.ValueType, name_of(item)) in known


def test_the_root_is_a_title_of_its_context_group_and_keeps_the_order_of_rows(report: Dataset) -> None:
    assert name_of(report) in group(7021)
    template = report.ContentTemplateSequence[0]
    assert (template.MappingResource, template.TemplateIdentifier) == ("DCMR", "1500")
    order = [row.name for row in ROOT]
    places = [order.index(name_of(item)) for item in report.ContentSequence]
    assert places == sorted(places)


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
    (located,) = of_template("1410")(report)
    (region,) = children(located, REGION)
    assert region.GraphicType == "POLYLINE"
    points = list(zip(region.GraphicData[::2], region.GraphicData[1::2], strict=True))
    assert points[0] == points[-1]
    assert len(set(points)) >= 3
    (image,) = children(region, SOURCE, "IMAGE")
    assert image.RelationshipType == "SELECTED FROM"


def test_a_finding_that_nobody_coded_keeps_to_the_rows_too(
    result: StudyResult, headers: list[Dataset], context: ReportContext
) -> None:
    unforeseen = Finding("A finding of another bundle", 0.9, 0.5, True, 1, {})
    made = written(built(replace(result, findings=(unforeseen,), most_dangerous=None), headers, context))
    (item,) = [one for one in groups(made) if children(one, TRACKING)[0].TextValue == unforeseen.name]
    known = {(row.relationship, row.value_type, row.name) for row in UNLOCATED}
    for child in item.ContentSequence:
        assert (child.RelationshipType, child.ValueType, name_of(child)) in known
    assert coded(children(item, FINDING)[0].ConceptCodeSequence)[1] == "99DICOMNODE"
    assert {PRESENT, ABSENT} <= group(240)
    assert coded(children(item, PRESENCE)[0].ConceptCodeSequence) == PRESENT
