"""The answer of one study as its page shows it: findings, contributions, and where its slices are."""

from __future__ import annotations

from dataclasses import dataclass

from dicom_node.slice_pixels import shown_slices
from dicom_node.web.pages import PERCENT
from dicom_node.web.study_lines import Bar, bar
from dicom_node.web.words import Words
from inference.study_result import Finding, SliceReference, StudyResult
from structured_report.codes import finding_code

MOST_CONTRIBUTIONS = 10


@dataclass(frozen=True)
class FindingLine:
    """A finding; `slice_number` counts from 1 towards the head, None where there is no slice to show.

    `window` is the CT window in which such a finding is looked for.
    """

    name: str
    bar: Bar
    side: str
    slice_number: int | None
    window: str
    umbrella: bool


@dataclass(frozen=True)
class ContributionLine:
    """How far a column moved the log-odds; `start` and `length` place its bar, in percent, 50 being zero.

    `name` is the column in words.
    """

    column: str
    name: str
    value: float
    contribution: float
    start: float
    length: float


@dataclass(frozen=True)
class AnswerView:
    """The answer; `slices` counts those that can be shown one by one, `slice_number` is the first shown."""

    bar: Bar
    verdict: str
    dangerous: str
    band: tuple[str, str] | None
    present: tuple[FindingLine, ...]
    absent: tuple[FindingLine, ...]
    contributions: tuple[ContributionLine, ...]
    slices: int
    slice_number: int
    window: str


def answer_view(result: StudyResult, words: Words) -> AnswerView:
    """The view of a result."""
    verdict = result.verdict or ("pathological" if result.decision else "normal")
    findings = sorted(result.findings, key=lambda item: (item.present, item.danger), reverse=True)
    lines = [(item.present, _finding_line(result, item, words)) for item in findings]
    present = tuple(line for is_present, line in lines if is_present)
    absent = sorted((line for is_present, line in lines if not is_present), key=lambda line: -line.bar.fill)
    located = [(line.slice_number, line.window) for line in present if line.slice_number is not None]
    keys = [(number, "lung") for item in result.key_slices if (number := slice_number(result, item))]
    first, window = [*located, *keys, (shown_slices(result) // 2 + 1, "lung")][0]
    band = result.indeterminate
    return AnswerView(
        bar=bar(result.probability, result.operating_point, verdict),
        verdict=verdict,
        dangerous=words.known("finding", result.most_dangerous) if result.most_dangerous else "",
        band=(f"{PERCENT * band.low:.1f}", f"{PERCENT * band.high:.1f}") if band is not None else None,
        present=present,
        absent=tuple(absent),
        contributions=_contributions(result, words),
        slices=shown_slices(result),
        slice_number=first,
        window=window,
    )


def slice_number(result: StudyResult, reference: SliceReference | None) -> int | None:
    """Place of a slice among those that can be shown (from 1); by its instance, since interpolated slices
    of the volume have none."""
    if reference is None or not shown_slices(result):
        return None
    try:
        return result.image_sop_instance_uids.index(reference.sop_instance_uid) + 1
    except ValueError:
        return None


def _finding_line(result: StudyResult, finding: Finding, words: Words) -> FindingLine:
    kind = "present" if finding.present else "absent"
    return FindingLine(
        name=words.known("finding", finding.name),
        bar=bar(finding.probability, finding.operating_point, kind),
        side=words(f"study.{finding.laterality}") if finding.laterality else "",
        slice_number=slice_number(result, finding.best_slice),
        window=finding_code(finding.name).window,
        umbrella=finding.umbrella,
    )


def _contributions(result: StudyResult, words: Words) -> tuple[ContributionLine, ...]:
    ordered = sorted(result.contributions, key=lambda item: -abs(item.contribution))[:MOST_CONTRIBUTIONS]
    greatest = max((abs(item.contribution) for item in ordered), default=0.0) or 1.0

    def line(column: str, value: float, contribution: float) -> ContributionLine:
        length = PERCENT / 2 * abs(contribution) / greatest
        start = PERCENT / 2 - (length if contribution < 0 else 0)
        name = _column_name(column, words)
        return ContributionLine(column, name, value, contribution, round(start, 2), round(length, 2))

    return tuple(line(item.column, item.value, item.contribution) for item in ordered)


def _column_name(column: str, words: Words) -> str:
    """Columns are named `member_label`, the label in its own words."""
    member, divided, label = column.partition("_")
    if not divided:
        return words.known("measurement", column)
    named = words.known("finding", label, otherwise=label.replace("_", " "))
    return f"{words.known('stage', member)}: {named}"
