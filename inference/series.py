"""Which series of a study is analysed, and why each of the others is not. Headers only.

The order of preference is: slices before projections, the body part that the header names, original before
derived, coverage of the chest, completeness, slices close together, lung kernel before standard before
others, thin slices before thick, more slices; ties end with the lowest series number and UID, so that the
same study always gives the same choice.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from inference.acquisitions import READABLE_IMAGES, Acquisition, acquisitions
from inference.errors import RefusalCode, SeriesRefusal
from inference.image_exclusion import UNPLACED, Exclusion, image_exclusion
from inference.instance_header import InstanceHeader
from inference.kernels import KernelClass, kernel_class
from inference.projection_words import words
from inference.slice_stack import SliceStack
from inference.study_result import SeriesDecision

PARTIAL_COVERAGE = 0.7
"""A series shorter than this share of the study's longest one, or of a chest, covers only a part of it; so
does one whose images are so much narrower than the study's widest."""

CHEST_MM = 300.0
"""What an adult's chest takes, along and across: a series needs no more to be complete."""

_DERIVED = re.compile(r"\b(MPR|REFORMATTED|RESAMPLED|AVERAGE|MEAN|VMI|MONO ?ENERGETIC)\b")
"""Values of Image Type that say so, whatever the first one says."""

SPARSE_MM = 7.0
"""Slices farther apart leave out what lies between them, as high-resolution CT in steps of 10 mm does."""

USUAL_KVP = 120.0


@dataclass(frozen=True)
class SeriesChoice:
    """The images to analyse, in ascending order towards the head, and what became of every series."""

    study_uid: str
    series_uid: str
    sop_instance_uids: tuple[str, ...]
    decisions: tuple[SeriesDecision, ...]
    warnings: tuple[str, ...] = ()


def choose_series(headers: Sequence[InstanceHeader]) -> SeriesChoice:
    """The series to analyse out of the headers of one study.

    Raises
    ------
    SeriesRefusal
        With the code of the series that came nearest to being read, and a decision for every series.
    """
    candidates: dict[str, Acquisition] = {}
    exclusions: dict[str, Exclusion] = {}
    series = _by_series(headers)
    for uid, instances in series.items():
        found = best_of_series(instances)
        if isinstance(found, Acquisition):
            candidates[uid] = found
        else:
            exclusions[uid] = found
    decisions = [
        SeriesDecision(
            uid, len(series[uid]), chosen=False, reason=exclusion.reason, sentence=exclusion.sentence
        )
        for uid, exclusion in exclusions.items()
    ]
    if not candidates:
        raise _refusal(list(exclusions.values()), tuple(decisions))
    largest = _Reach.of(candidates.values())
    chosen = min(candidates.values(), key=lambda candidate: _Preference.of(candidate, largest).order)
    for uid, candidate in candidates.items():
        reason, sentence = "chosen", _description(chosen)
        if candidate is not chosen:
            reason, sentence = _Preference.of(chosen, largest).over(_Preference.of(candidate, largest))
        decisions.append(SeriesDecision(uid, len(series[uid]), candidate is chosen, reason, sentence))
    return SeriesChoice(
        study_uid=chosen.first.study_uid,
        series_uid=chosen.first.series_uid,
        sop_instance_uids=tuple(dict.fromkeys(plane.sop_instance_uid for plane in chosen.stack.planes)),
        decisions=tuple(sorted(decisions, key=lambda item: (not item.chosen, item.series_uid))),
        warnings=tuple(_warnings(chosen)),
    )


def _by_series(headers: Sequence[InstanceHeader]) -> dict[str, list[InstanceHeader]]:
    """Each instance once, in an order that does not depend on the order of arrival."""
    series: dict[str, dict[str, InstanceHeader]] = defaultdict(dict)
    for header in sorted(headers, key=lambda item: (item.series_uid, item.sop_instance_uid)):
        series[header.series_uid].setdefault(header.sop_instance_uid, header)
    return {uid: list(instances.values()) for uid, instances in series.items()}


def best_of_series(headers: Iterable[InstanceHeader]) -> Acquisition | Exclusion:
    """The images of one series that make its best stack, or why none do.

    It depends on nothing but these images, so that the reading of pixels finds the same frames again.
    """
    images = [image for header in headers for image in header.frames_apart()]
    excluded = [(image, image_exclusion(image)) for image in images]
    usable = [image for image, reason in excluded if reason is None]
    if not usable:
        commonest = Counter(reason for _, reason in excluded if reason is not None)
        return max(commonest, key=lambda reason: (commonest[reason], reason.nearness))
    found, problems = acquisitions(usable)
    if not found:
        return max(problems, key=lambda problem: problem.nearness)
    largest = _Reach.of(found)
    best = min(found, key=lambda acquisition: _Preference.of(acquisition, largest).order)
    unplaced = sum(1 for _, exclusion in excluded if exclusion is not None and exclusion.reason in UNPLACED)
    return replace(best, unplaced=unplaced)


@dataclass(frozen=True)
class _Reach:
    """How much of the body the largest of some acquisitions cover, at most a chest: along and across, mm."""

    length_mm: float
    field_mm: float

    @classmethod
    def of(cls, acquisitions: Collection[Acquisition]) -> _Reach:
        stacks = [acquisition.stack for acquisition in acquisitions]
        return cls(
            length_mm=min(max(stack.extent_mm for stack in stacks), CHEST_MM),
            field_mm=min(max(stack.field_mm for stack in stacks), CHEST_MM),
        )

    def covered_by(self, stack: SliceStack) -> bool:
        """Whether a stack covers about as much."""
        return (
            stack.extent_mm >= PARTIAL_COVERAGE * self.length_mm
            and stack.field_mm >= PARTIAL_COVERAGE * self.field_mm
        )


@dataclass(frozen=True)
class _Preference:
    """How good an acquisition is for reading lungs; `order` is least for the best."""

    projection: bool
    elsewhere: bool
    derived: bool
    partial: bool
    incomplete: bool
    sparse: bool
    kernel: KernelClass
    thickness_mm: float
    slices: int
    tie: tuple[int | str, ...]

    @classmethod
    def of(cls, acquisition: Acquisition, largest: _Reach) -> _Preference:
        first, stack = acquisition.first, acquisition.stack
        return cls(
            projection=first.projection,
            elsewhere=first.region == "elsewhere",
            derived=_is_derived(first),
            partial=not largest.covered_by(stack),
            incomplete=not stack.complete or stack.tilt_degrees > 0,
            sparse=stack.spacing_mm[0] > SPARSE_MM,
            kernel=kernel_class(first.traits.kernel),
            thickness_mm=round(max(first.traits.slice_thickness_mm or 0.0, stack.spacing_mm[0]), 1),
            slices=len(stack.planes),
            tie=(
                first.series_number or 0,
                # Of two tube voltages the one nearer to that at which densities of the lung are defined.
                round(abs((first.traits.kvp or USUAL_KVP) - USUAL_KVP)),
                first.traits.acquisition_number or 0,
                first.series_uid,
                *(first.traits.stack_id, first.traits.phase, first.traits.acquisition_time),
                first.sop_instance_uid,
            ),
        )

    @property
    def order(self) -> tuple[object, ...]:
        return (self.projection, self.elsewhere, self.derived, self.partial, self.incomplete, self.sparse,
                self.kernel, self.thickness_mm, -self.slices, self.tie)  # fmt: skip

    def over(self, other: _Preference) -> tuple[str, str]:
        """Why this one was chosen before `other`: a stable word and a sentence about the other."""
        reasons = (
            (other.projection, "projection", "Its description names a projection (MIP), not slices."),
            (other.elsewhere, "other_body_part", "The header names another body part."),
            (other.derived, "derived", "A derived (reformatted) series; an original one was chosen."),
            (other.partial, "partial_coverage", "It covers less of the body than the chosen series."),
            (other.incomplete, "incomplete", "Slices are missing or tilted; a complete series was chosen."),
            (other.sparse, "sparse", "Its slices lie so far apart that they leave out what is between."),
            (other.kernel, "kernel", f"A {other.kernel.words}; a {self.kernel.words} was chosen."),
            (other.thickness_mm, "thicker",
             f"Slices of {other.thickness_mm:g} mm; a series of {self.thickness_mm:g} mm was chosen."),
            (-other.slices, "fewer_slices", f"{other.slices} slices; a series of {self.slices} was chosen."),
        )  # fmt: skip
        for own, (value, word, sentence) in zip(self.order, reasons, strict=False):
            if own != value:
                return word, sentence
        return "equivalent", "Equivalent to the chosen series, which has the lower series number."


def _is_derived(header: InstanceHeader) -> bool:
    kinds = header.traits.image_type
    return "DERIVED" in kinds[:1] or any(_DERIVED.search(words(kind)) for kind in kinds)


def _description(acquisition: Acquisition) -> str:
    first, stack = acquisition.first, acquisition.stack
    origin = "Derived" if _is_derived(first) else "Original"
    return (
        f"{origin} axial series, {kernel_class(first.traits.kernel).words}, {len(stack.planes)} slices"
        f" {stack.spacing_mm[0]:.2f} mm apart."
    )


def _warnings(chosen: Acquisition) -> Iterator[str]:
    if chosen.left_out:
        yield f"{chosen.left_out} image(s) of the series belong to another acquisition and were left out."
    if chosen.unplaced:
        yield (
            f"{chosen.unplaced} image(s) of the series do not say where they lie or what their values mean"
            " and were left out."
        )
    if chosen.first.traits.rescale_type == "US":
        yield "The images call the unit of their values unspecified: they were taken for Hounsfield units."
    if not chosen.first.traits.rescaled:
        yield "The images do not say how their values are scaled: they were taken for Hounsfield units."


def _refusal(exclusions: list[Exclusion], decisions: tuple[SeriesDecision, ...]) -> SeriesRefusal:
    nearest = max(exclusions, key=lambda exclusion: exclusion.nearness, default=None)
    if nearest is not None and nearest.nearness >= READABLE_IMAGES:
        return SeriesRefusal(RefusalCode(nearest.reason), nearest.sentence, decisions)
    kinds = Counter(exclusion.reason for exclusion in exclusions)
    listed = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in sorted(kinds.items()))
    return SeriesRefusal(
        RefusalCode.NO_CT_SERIES,
        f"The study holds no axial CT series that can be analysed ({listed or 'no images'}).",
        decisions,
    )
