"""Finding one's way in the content of a report as it was written and read again."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO

import pydicom
from pydicom.dataset import Dataset

from inference.study_result import StudyResult
from structured_report import ReportContext, ReportObject
from structured_report.measurement_report import measurement_report
from structured_report.object_header import report_basis
from structured_report.source import read_source

Code = tuple[str, str]  # value, scheme

LIBRARY, LIBRARY_GROUP = ("111028", "DCM"), ("126200", "DCM")
MEASUREMENTS, GROUP = ("126010", "DCM"), ("125007", "DCM")
WORDS, CONCLUSION, COMMENT = ("C0034375", "UMLS"), ("121077", "DCM"), ("121106", "DCM")
FINDING, SITE, SIDE = ("121071", "DCM"), ("363698007", "SCT"), ("272741003", "SCT")
PROBABILITY, PRESENCE = ("122157", "DCM"), ("705057003", "SCT")
PRESENT, ABSENT = ("52101004", "SCT"), ("272519000", "SCT")
LANGUAGE = ("121049", "DCM")
TRACKING, TRACKING_UID = ("112039", "DCM"), ("112040", "DCM")
NAME, VERSION, PARAMETER = ("111001", "DCM"), ("111003", "DCM"), ("111002", "DCM")
MANUFACTURER = ("122405", "DCM")
REGION, SOURCE, SOURCE_OF_MEASUREMENT = ("111030", "DCM"), ("260753009", "SCT"), ("121112", "DCM")


def built(result: StudyResult, headers: list[Dataset], context: ReportContext) -> ReportObject:
    """The report alone, without key images."""
    return measurement_report(report_basis(result, read_source(result, headers), context))


def written(item: ReportObject) -> Dataset:
    return pydicom.dcmread(BytesIO(item.to_bytes()))


def coded(sequence: list[Dataset]) -> Code:
    return sequence[0].CodeValue, sequence[0].CodingSchemeDesignator


def name_of(item: Dataset) -> Code:
    return coded(item.ConceptNameCodeSequence)


def children(item: Dataset, name: Code, value_type: str | None = None) -> list[Dataset]:
    return [
        child
        for child in item.get("ContentSequence", [])
        if name_of(child) == name and value_type in (None, child.ValueType)
    ]


def groups(report: Dataset) -> list[Dataset]:
    return children(children(report, MEASUREMENTS)[0], GROUP)


def group_of(report: Dataset, name: str) -> Dataset:
    return next(group for group in groups(report) if children(group, TRACKING)[0].TextValue == name)


def everything(item: Dataset) -> Iterator[Dataset]:
    yield item
    for child in item.get("ContentSequence", []):
        yield from everything(child)
