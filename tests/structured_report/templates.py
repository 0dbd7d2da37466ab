"""Rows of the templates that the report uses, as a table, and where a report departs from them.

Rows, requirement types and value sets are those of PS3.16 2026a (TID 1500, 1204, 1001, 1002, 1004, 1600 to
1604, 1501, 1410, 1419, 300, 301, 320, 4019; what stands in TID 301 was part of TID 300 in older editions,
with the same row numbers), context groups are those that pydicom carries. `need` is the standard's
requirement type; `least` is what a report of ours holds to, which IHE AI Results or this project may ask for
where the standard does not. Every item of a report must be one that a row names, so that what no template has
is seen.

The order of items counts in TID 1002, 1004, 4019, 301 and 320 alone. The others are extensible, and their
order is not significant. A baseline context group (BCID) may be extended; `also` says by what.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import pydicom
from pydicom.dataset import Dataset
from pydicom.sr._cid_dict import cid_concepts
from pydicom.sr._concepts_dict import concepts

from structured_report.codes import finding_codes
from tests.structured_report.content import (
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
    children,
    coded,
    groups,
    name_of,
)

MANY = 1000
MODIFIER, OBSERVATION = "HAS CONCEPT MOD", "HAS OBS CONTEXT"
ACQUISITION, CONTAINS = "HAS ACQ CONTEXT", "CONTAINS"

Allowed = Callable[[Code], bool]


@dataclass(frozen=True)
class Row:
    """A row: of which template, how often below one parent, and which values or units it may have."""

    row: str
    relationship: str
    value_type: str
    name: Code
    need: str
    least: int
    most: int = 1
    allowed: Allowed | None = None

    @property
    def kind(self) -> tuple[str, str, Code]:
        """What an item must be for the row to be its own."""
        return self.relationship, self.value_type, self.name


@dataclass(frozen=True)
class Part:
    """Parents of one kind, the rows below them, names whose order counts, and units of other numbers."""

    name: str
    parents: Callable[[Dataset], list[Dataset]]
    rows: list[Row]
    ordered: tuple[tuple[Code, ...], ...] = ()
    other_units: Allowed | None = None


def group(cid: int) -> frozenset[Code]:
    """The codes of a context group of PS3.16."""
    return frozenset(
        (value, scheme)
        for scheme, keywords in cid_concepts[cid].items()
        for keyword in keywords
        for value, (_, listed) in concepts[scheme][keyword].items()
        if cid in listed
    )


def of(cid: int, also: Iterable[Code] = ()) -> Allowed:
    """Codes of a context group, and those by which a baseline one is extended."""
    codes = group(cid) | frozenset(also)
    return lambda code: code in codes


def only(*codes: Code) -> Allowed:
    """These codes."""
    return lambda code: code in codes


def dcm(value: str) -> Code:
    return value, "DCM"


PRIVATE = "99DICOMNODE"
MOST_DANGEROUS, VERDICT = ("most-dangerous", PRIVATE), ("verdict", PRIVATE)
PATHOLOGY, QUANTITIES_CODE = ("pathology", PRIVATE), ("quantities", PRIVATE)
METHOD, DERIVATION = ("370129005", "SCT"), dcm("121401")
LANGUAGES = (("en", "RFC5646"), ("ru", "RFC5646"))  # of CID 5000, which takes them over from RFC 5646
PIXELS, MILLIMETRES, MILLILITRES = ("{pixels}", "UCUM"), ("mm", "UCUM"), ("mL", "UCUM")
_FINDINGS = {(item.code.value, item.code.scheme_designator) for item in finding_codes().values()}
_SITES = {(item.site.value, item.site.scheme_designator) for item in finding_codes().values() if item.site}


def is_finding(code: Code) -> bool:
    """Of the data file, or made of a name that the data file does not have."""
    value, scheme = code
    return code in {*_FINDINGS, PATHOLOGY, QUANTITIES_CODE} or (scheme == PRIVATE and value.startswith("N"))


OBSERVER = (dcm("121005"), dcm("121012"), dcm("121013"), dcm("121014"), dcm("121015"))
ROOT = [
    Row("TID 1204 row 1", MODIFIER, "CODE", LANGUAGE, "M", 1, allowed=only(*LANGUAGES)),
    Row("TID 1002 row 1", OBSERVATION, "CODE", OBSERVER[0], "MC", 1, allowed=of(270)),
    Row("TID 1004 row 1", OBSERVATION, "UIDREF", OBSERVER[1], "M", 1),
    Row("TID 1004 row 2", OBSERVATION, "TEXT", OBSERVER[2], "U", 1),
    Row("TID 1004 row 3", OBSERVATION, "TEXT", OBSERVER[3], "U", 1),  # asked for by IHE AIR
    Row("TID 1004 row 4", OBSERVATION, "TEXT", OBSERVER[4], "U", 1),  # asked for by IHE AIR
    Row("TID 1500 row 4", MODIFIER, "CODE", dcm("121058"), "U", 1, MANY),  # BCID 100, or the source's own
    Row("TID 1600 row 1", CONTAINS, "CONTAINER", LIBRARY, "M", 1),
    Row("TID 1500 row 6", CONTAINS, "CONTAINER", MEASUREMENTS, "MC", 1),
    Row("TID 1500 row 12", CONTAINS, "CONTAINER", WORDS, "MC", 1),
]
IMAGE_LIBRARY = [Row("TID 1600 row 2", CONTAINS, "CONTAINER", LIBRARY_GROUP, "U", 1)]
IMAGE_GROUP = [
    Row("TID 1602 row 1", ACQUISITION, "CODE", dcm("121139"), "U", 1, allowed=of(29)),
    Row("TID 1602 row 10", ACQUISITION, "UIDREF", dcm("112227"), "U", 0),
    Row("TID 1602 row 11", ACQUISITION, "NUM", dcm("110910"), "U", 1, allowed=only(PIXELS)),
    Row("TID 1602 row 12", ACQUISITION, "NUM", dcm("110911"), "U", 1, allowed=only(PIXELS)),
    Row("TID 1604 row 1", ACQUISITION, "NUM", dcm("111026"), "U", 0, allowed=only(MILLIMETRES)),
    Row("TID 1604 row 2", ACQUISITION, "NUM", dcm("111066"), "U", 0, allowed=only(MILLIMETRES)),
    Row("TID 1604 row 4", ACQUISITION, "NUM", dcm("112225"), "U", 0, allowed=only(MILLIMETRES)),
    Row("TID 1601 row 1", CONTAINS, "IMAGE", SOURCE, "M", 1, MANY * 10),
]
SENTENCES = [
    Row("TID 1500 row 14, conclusion", CONTAINS, "TEXT", CONCLUSION, "U", 1),
    Row("TID 1500 row 14, comment", CONTAINS, "TEXT", COMMENT, "U", 1, MANY),
]
SENTENCE = [Row("TID 1204 row 1", MODIFIER, "CODE", LANGUAGE, "M", 0, allowed=only(*LANGUAGES))]
ALGORITHM = [
    Row("TID 4019 row 1", MODIFIER, "TEXT", NAME, "M", 1),
    Row("TID 4019 row 2", MODIFIER, "TEXT", VERSION, "M", 1),
    Row("TID 4019 row 2b", MODIFIER, "TEXT", MANUFACTURER, "U", 1),  # asked for by IHE AIR
    Row("TID 4019 row 3", MODIFIER, "TEXT", PARAMETER, "U", 1, MANY),
]
IDENTIFICATION = (NAME, VERSION, MANUFACTURER, PARAMETER)
UNLOCATED = [
    Row("TID 1501 row 2", OBSERVATION, "TEXT", TRACKING, "U", 1),
    Row("TID 1501 row 3", OBSERVATION, "UIDREF", TRACKING_UID, "U", 1),
    Row("TID 1501 row 3b", CONTAINS, "CODE", FINDING, "U", 1, allowed=is_finding),
    Row("TID 1501 row 6", MODIFIER, "CODE", SITE, "U", 0, allowed=only(*_SITES)),
    *(replace(row, row=f"TID 1501 row 9b, {row.row}") for row in ALGORITHM),
    Row("TID 1501 row 10, TID 300 row 1", CONTAINS, "NUM", PROBABILITY, "M", 1, allowed=of(7181)),
    Row("TID 1501 row 10b", CONTAINS, "IMAGE", SOURCE_OF_MEASUREMENT, "U", 1),
    Row("TID 1501 row 11", CONTAINS, "CODE", PRESENCE, "U", 1, allowed=of(240)),
    Row("TID 1501 row 11, verdict", CONTAINS, "CODE", VERDICT, "U", 0, allowed=only(("82334004", "SCT"))),
    Row("TID 1501 row 11, most dangerous", CONTAINS, "CODE", MOST_DANGEROUS, "U", 0, allowed=is_finding),
    Row("TID 1501 row 12", CONTAINS, "TEXT", COMMENT, "U", 0, MANY),
]
LOCATED = [
    Row("TID 1410 row 2", OBSERVATION, "TEXT", TRACKING, "U", 1),
    Row("TID 1410 row 3", OBSERVATION, "UIDREF", TRACKING_UID, "U", 1),
    Row("TID 1410 row 3b", CONTAINS, "CODE", FINDING, "U", 1, allowed=is_finding),
    Row("TID 1410 row 3c", CONTAINS, "CODE", dcm("130400"), "U", 1, allowed=of(219)),
    Row("TID 1410 row 5", CONTAINS, "SCOORD", REGION, "MC", 1),
    Row("TID 1419 row 2", MODIFIER, "CODE", SITE, "U", 0, allowed=only(*_SITES)),
    *(replace(row, row=f"TID 1419 row 4b, {row.row}") for row in ALGORITHM),
    Row("TID 1419 row 5", CONTAINS, "NUM", PROBABILITY, "M", 1, allowed=of(7181)),
    Row("TID 1410 row 12", CONTAINS, "CODE", PRESENCE, "U", 1, allowed=of(240)),
    Row("TID 1410 row 13", CONTAINS, "TEXT", COMMENT, "U", 1, MANY),
]
QUANTITIES = [
    replace(row, least=0) if row.name == PARAMETER else row
    for row in UNLOCATED
    if row.name not in {SITE, PRESENCE, PROBABILITY, VERDICT, MOST_DANGEROUS}
]
SIDES = [Row("TID 1501 row 7, TID 1419 row 3", MODIFIER, "CODE", SIDE, "U", 0, allowed=of(244))]
NUMBER = [
    Row("TID 301 row 3", MODIFIER, "CODE", METHOD, "U", 0),
    Row("TID 301 row 4", MODIFIER, "CODE", DERIVATION, "U", 0, allowed=of(7464)),
    Row("TID 301 row 13, TID 320 row 3", "INFERRED FROM", "SCOORD", SOURCE_OF_MEASUREMENT, "MC", 1),
]
POINT = [Row("TID 320 row 4", "SELECTED FROM", "IMAGE", SOURCE, "MC", 1)]
OUTLINE = [Row("TID 1410 row 6", "SELECTED FROM", "IMAGE", SOURCE, "M", 1)]


def of_template(identifier: str, *, quantities: bool = False) -> Callable[[Dataset], list[Dataset]]:
    """The groups that say they are of that template, those of quantities or the others."""

    def parents(report: Dataset) -> list[Dataset]:
        return [
            item
            for item in groups(report)
            if item.ContentTemplateSequence[0].TemplateIdentifier == identifier
            and (coded(children(item, FINDING)[0].ConceptCodeSequence) == QUANTITIES_CODE) == quantities
        ]

    return parents


def numbers(report: Dataset) -> list[Dataset]:
    """Every number of a group without a region."""
    parents = (*of_template("1501")(report), *of_template("1501", quantities=True)(report))
    return [child for item in parents for child in item.ContentSequence if child.ValueType == "NUM"]


def regions(report: Dataset) -> list[Dataset]:
    return [region for item in groups(report) for region in children(item, REGION)]


def _libraries(report: Dataset) -> list[Dataset]:
    return children(report, LIBRARY)


def _sentences(report: Dataset) -> list[Dataset]:
    return [text for item in children(report, WORDS) for text in item.ContentSequence]


PARTS = [
    Part("root", lambda report: [report], ROOT, (OBSERVER,)),
    Part("image library", _libraries, IMAGE_LIBRARY),
    Part(
        "image library group",
        lambda report: [group for item in _libraries(report) for group in children(item, LIBRARY_GROUP)],
        IMAGE_GROUP,
    ),
    Part("words", lambda report: children(report, WORDS), SENTENCES),
    Part("sentence", _sentences, SENTENCE),
    Part("unlocated", of_template("1501"), UNLOCATED, (IDENTIFICATION,)),
    Part("located", of_template("1410"), LOCATED, (IDENTIFICATION,)),
    Part(
        "quantities",
        of_template("1501", quantities=True),
        QUANTITIES,
        (IDENTIFICATION,),
        other_units=of(7181, also=[MILLILITRES]),
    ),
    Part(
        "site",
        lambda report: [site for item in groups(report) for site in children(item, SITE)],
        SIDES,
    ),
    Part("number", numbers, NUMBER, ((METHOD, DERIVATION, SOURCE_OF_MEASUREMENT),)),
    Part(
        "point",
        lambda report: [point for item in numbers(report) for point in children(item, SOURCE_OF_MEASUREMENT)],
        POINT,
    ),
    Part("region", regions, OUTLINE),
]


def departures(report: Dataset) -> list[str]:
    """Where a report departs from the rows; nothing of a patient."""
    found = [f"root: {problem}" for problem in _of_the_title(report)]
    for part in PARTS:
        for parent in part.parents(report):
            found += [f"{part.name}: {problem}" for problem in _below(parent, part)]
    return found


def row_departures(part: Part, row: Row, report: Dataset) -> list[str]:
    """Where the parents of a part depart from one of its rows."""
    return [problem for parent in part.parents(report) for problem in _of_row(parent, row)]


def _of_the_title(report: Dataset) -> Iterator[str]:
    if name_of(report) not in group(7021):
        yield "TID 1500 row 1: the title is not of CID 7021"
    template = report.ContentTemplateSequence[0]
    if (template.MappingResource, template.TemplateIdentifier) != ("DCMR", "1500"):
        yield "not said to be of TID 1500"


def _below(parent: Dataset, part: Part) -> Iterator[str]:
    for row in part.rows:
        yield from _of_row(parent, row)
    known = {row.kind for row in part.rows}
    items = parent.get("ContentSequence", [])
    for item in items:
        if (item.RelationshipType, item.ValueType, name_of(item)) in known:
            continue
        if part.other_units is None or (item.RelationshipType, item.ValueType) != (CONTAINS, "NUM"):
            yield f"no row has {item.ValueType} {name_of(item)}"
        elif not part.other_units(_unit(item)):
            yield f"unit {_unit(item)}"
    names = [name_of(item) for item in items]
    for run in part.ordered:
        places = [run.index(name) for name in names if name in run]
        if places != sorted(places):
            yield f"order of {run}"


def _of_row(parent: Dataset, row: Row) -> Iterator[str]:
    found = children(parent, row.name, row.value_type)
    if not row.least <= len(found) <= row.most:
        yield f"{row.row}: {len(found)} of them"
    for item in found:
        if item.RelationshipType != row.relationship:
            yield f"{row.row}: {item.RelationshipType}"
        if not _has_value(item, row.allowed):
            yield f"{row.row}: its value"


def _unit(item: Dataset) -> Code:
    (measured,) = item.MeasuredValueSequence
    return coded(measured.MeasurementUnitsCodeSequence)


def _has_value(item: Dataset, allowed: Allowed | None) -> bool:
    holds = True
    match item.ValueType:
        case "CODE":
            holds = allowed is None or allowed(coded(item.ConceptCodeSequence))
        case "NUM":
            (measured,) = item.MeasuredValueSequence
            holds = str(measured.NumericValue) != "" and (allowed is None or allowed(_unit(item)))
        case "TEXT":
            holds = item.TextValue != ""
        case "UIDREF":
            holds = pydicom.uid.UID(item.UID).is_valid
        case "IMAGE":
            (reference,) = item.ReferencedSOPSequence
            holds = pydicom.uid.UID(reference.ReferencedSOPInstanceUID).is_valid
        case "SCOORD":
            holds = item.GraphicType in {"POINT", "POLYLINE"}
        case "CONTAINER":
            holds = item.ContinuityOfContent == "SEPARATE"
    return holds
