"""The answer of one study as its page shows it: findings, contributions, and where its slices are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dicom_node.web.located import image_of, located_on
from dicom_node.web.pages import PERCENT
from dicom_node.web.study_lines import Bar, bar
from dicom_node.web.words import Words
from inference.study_result import Finding, SliceReference, StudyResult
from inference.volume import Frame
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
    """The answer; `slices` counts those that can be shown one by one, `slice_number` is the first shown.

    `outlined` names the findings with a region on a slice, by its number.
    """

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
    outlined: Mapping[int, str]


def answer_view(result: StudyResult, places: Sequence[Frame], words: Words) -> AnswerView:
    """The view of a result; `places` are the images of the slices that can be shown, from the feet up."""
    numbers = {image: number for number, image in enumerate(places, start=1)}
    verdict = result.verdict or ("pathological" if result.decision else "normal")
    findings = sorted(result.findings, key=lambda item: (item.present, item.danger), reverse=True)
    lines = [(item.present, _finding_line(item, numbers, words)) for item in findings]
    present = tuple(line for is_present, line in lines if is_present)
    absent = sorted((line for is_present, line in lines if not is_present), key=lambda line: -line.bar.fill)
    located = [(line.slice_number, line.window) for line in present if line.slice_number is not None]
    keys = [(number, "lung") for item in result.key_slices if (number := numbers.get(image_of(item)))]
    first, window = [*located, *keys, (len(places) // 2 + 1, "lung")][0]
    band = result.indeterminate
    return AnswerView(
        bar=bar(result.probability, result.operating_point, verdict),
        verdict=verdict,
        dangerous=words.known("finding", result.most_dangerous) if result.most_dangerous else "",
        band=(f"{PERCENT * band.low:.1f}", f"{PERCENT * band.high:.1f}") if band is not None else None,
        present=present,
        absent=tuple(absent),
        contributions=_contributions(result, words),
        slices=len(places),
        slice_number=first,
        window=window,
        outlined=_outlined(result, numbers, words),
    )


def _outlined(result: StudyResult, numbers: Mapping[Frame, int], words: Words) -> dict[int, str]:
    """The names of the findings by the slice that their regions lie on, numbered as their outlines are."""
    named: dict[int, str] = {}
    for region in (finding.region for finding in result.findings if finding.region is not None):
        image = image_of(region.slice)
        names = [words.known("finding", finding.name) for finding, _ in located_on(result, image)]
        if image in numbers and names:
            several = [f"{number} {name}" for number, name in enumerate(names, start=1)]
            named[numbers[image]] = ", ".join(several if len(names) > 1 else names)
    return named


def _slice_number(reference: SliceReference | None, numbers: Mapping[Frame, int]) -> int | None:
    return numbers.get(image_of(reference)) if reference is not None else None


def _finding_line(finding: Finding, numbers: Mapping[Frame, int], words: Words) -> FindingLine:
    kind = "present" if finding.present else "absent"
    return FindingLine(
        name=words.known("finding", finding.name),
        bar=bar(finding.probability, finding.operating_point, kind),
        side=words(f"study.{finding.laterality}") if finding.laterality else "",
        slice_number=_slice_number(finding.best_slice, numbers),
        window=finding_code(finding.name).window,
        umbrella=finding.umbrella,
    )


def _contributions(result: StudyResult, words: Words) -> tuple[ContributionLine, ...]:
    ordered = sorted(result.contributions, key=lambda item: -abs(item.contribution))[:MOST_CONTRIBUTIONS]
    greatest = max((abs(item.contribution) for item in ordered), default=0.0) or 1.0

    def line(column: str, value: float, contribution: float) -> ContributionLine:
        length = PERCENT / 2 * abs(contribution) / greatest
        start = PERCENT / 2 - (length if contribution < 0 else 0)
        name = words.of_reports.column(column)
        return ContributionLine(column, name, value, contribution, round(start, 2), round(length, 2))

    return tuple(line(item.column, item.value, item.contribution) for item in ordered)
