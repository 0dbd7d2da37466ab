"""The summary of a study as secondary captures: one page for every 24 findings, after the key images."""

from __future__ import annotations

from collections.abc import Sequence

from inference.study_result import Finding, Measurement, StudyResult
from structured_report.key_images import study_state
from structured_report.language import Words
from structured_report.object_header import ReportBasis, ReportObject, series_description
from structured_report.percentage import percentage
from structured_report.provenance import PRODUCT
from structured_report.reading_order import in_reading_order
from structured_report.secondary_capture import Capture, secondary_capture
from structured_report.summary_drawing import ROWS_A_PAGE, Bar, Overview, SummaryPicture, draw_summary

MOST_FACTS = 6


def summary_pages(basis: ReportBasis, overview: Overview | None, *, after: int) -> list[ReportObject]:
    """The pages, in the series of the key images, numbered on from `after`."""
    findings = in_reading_order(basis.result.findings)
    parts = [findings[start : start + ROWS_A_PAGE] for start in range(0, len(findings), ROWS_A_PAGE)] or [[]]
    return [
        _page(basis, summary_picture(basis, part, overview, (number, len(parts))), after + number)
        for number, part in enumerate(parts, start=1)
    ]


def summary_picture(
    basis: ReportBasis, findings: Sequence[Finding], overview: Overview | None, page: tuple[int, int]
) -> SummaryPicture:
    """What is drawn on one page: these findings, and what is said of the study on every page."""
    result, words = basis.result, basis.words
    number, count = page
    title = words.sentence("summary_page" if count > 1 else "summary", number=number, count=count)
    bundle = f"{result.bundle.name} {result.bundle.version}"
    version = result.runtime.software_version
    return SummaryPicture(
        notice=words.sentence("demonstration") if result.bundle.demonstration else "",
        title=title,
        headline=words.sentence("pathology"),
        value=f"{percentage(result.probability, result.operating_point)} %",
        emphasised=bool(result.decision) or result.verdict == "indeterminate",
        lines=tuple(_lines(result, words)),
        bars=tuple(_bar(finding, words) for finding in findings),
        overview=overview,
        sides=("R", "L"),
        facts=tuple(_fact(item, words) for item in result.measurements[:MOST_FACTS]),
        footer=(
            words.sentence("bar_legend"),
            words.sentence("bundle", bundle=bundle, product=PRODUCT, version=version)
            + ". "
            + words.sentence("not_verified"),
        ),
    )


def _lines(result: StudyResult, words: Words) -> list[str]:
    lines = [study_state(result, words)]
    if result.most_dangerous is not None:
        lines.append(words.sentence("most_dangerous_short", finding=words.finding(result.most_dangerous)))
    if result.warnings:
        lines.append(words.sentence("warnings", number=len(result.warnings)))
    return lines


def _bar(finding: Finding, words: Words) -> Bar:
    text = f"{percentage(finding.probability, finding.operating_point)} %"
    name = words.finding(finding.name)
    return Bar(name, finding.probability, finding.operating_point, text, finding.present)


def _fact(measurement: Measurement, words: Words) -> tuple[str, str]:
    unit = words.unit(measurement.unit)
    decimals = 1 if measurement.unit == "%" else 0
    value = f"{measurement.value:.{decimals}f} {unit}"
    return words.finding(measurement.name), value.replace("-", "\N{MINUS SIGN}")


def _page(basis: ReportBasis, picture: SummaryPicture, number: int) -> ReportObject:
    result = basis.result
    capture = Capture(
        pixels=draw_summary(picture),
        key=result.key,
        study_uid=result.study_uid,
        number=number,
        series=series_description(result, basis.words.sentence("key_images"), basis.words),
        derivation="Page that sums an AI result up",
        images=tuple((item.sop_instance_uid, item.frame_number) for item in result.key_slices),
    )
    return secondary_capture(basis, capture)
