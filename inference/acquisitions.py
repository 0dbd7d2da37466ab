"""The stacks within one series: usually one, several where acquisitions, phases or copies were mixed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from inference.errors import RefusalCode, VolumeRefusal
from inference.functional_groups import FrameTraits
from inference.image_exclusion import Exclusion
from inference.instance_header import InstanceHeader
from inference.slice_stack import SliceStack, stack_planes

MINIMUM_SLICES = 20

_Headers = list[InstanceHeader]
_Split = Callable[[_Headers], list[_Headers]]

# Of two series that cannot be read the later one in this order came nearer to it.
_NEARNESS = (
    RefusalCode.NOT_AXIAL,
    RefusalCode.TOO_FEW_SLICES,
    RefusalCode.GANTRY_TILT,
    RefusalCode.MIXED_GEOMETRY,
    RefusalCode.MISSING_SLICES,
)
SAME_PLACE_MM = 0.05
"""Images this near to each other are of one place, the rounding of headers aside."""

CONTIGUOUS = 1.2
"""Distance of slices, of their thickness, above which they leave out what lies between them."""

READABLE_IMAGES = 100
"""Nearness of the least of the exclusions that concern geometry; below it lie images of other kinds."""


@dataclass(frozen=True)
class Acquisition:
    """Images that make one stack; `left_out` counts the images of the series that do not belong to it.

    `unplaced` counts those of the series whose headers do not say where they lie, or in which units.
    Frames of a multi-frame instance are images of their own here.
    """

    headers: tuple[InstanceHeader, ...]
    stack: SliceStack
    left_out: int
    unplaced: int = 0

    @property
    def first(self) -> InstanceHeader:
        """Any of the images, for what they have in common."""
        return self.headers[0]


def acquisitions(headers: _Headers) -> tuple[list[Acquisition], list[Exclusion]]:
    """All stacks that the images of one series make, and why others of its images make none.

    Each header has one plane (`InstanceHeader.frames_apart`).
    """
    found: list[Acquisition] = []
    problems: list[Exclusion] = []
    for group in _parallel(headers):
        whole = _stack(group)
        if isinstance(whole, Exclusion):
            problems.append(whole)
        found.extend(
            Acquisition(tuple(part), stack, len(headers) - len(part))
            for part, stack in _stacks(group, whole, _SPLITS)
        )
    return found, problems


def _stacks(
    headers: _Headers, whole: SliceStack | Exclusion, splits: Sequence[_Split]
) -> list[tuple[_Headers, SliceStack]]:
    """The stacks in images that make `whole`: itself, or those of parts told apart by what differs."""
    for number, split in enumerate(splits):
        parts = split(headers)
        if len(parts) == 1 or not _explains(split, parts, whole):
            continue
        found = [item for part in parts for item in _stacks(part, _stack(part), splits[number + 1 :])]
        if found:
            return found
    return [(headers, whole)] if isinstance(whole, SliceStack) else []


def _explains(split: _Split, parts: list[_Headers], whole: SliceStack | Exclusion) -> bool:
    """Whether images are to be told apart in this way.

    Images of one place must be. Where there is a gap, or nothing wrong at all, only parts that lie within
    each other are two acquisitions: parts that follow each other are one scan, of which half would pass for
    the whole. Another coordinate system and the scanner's own counts of acquisitions and of stacks alone may
    explain a gap.
    """
    if isinstance(whole, Exclusion):
        if whole.reason == RefusalCode.MIXED_GEOMETRY:
            return True
        if whole.reason != RefusalCode.MISSING_SLICES:
            return False
        if split in _COUNTED:
            return True
    elif split in _BY_SCAN and _fill_each_other(parts, whole):
        return False
    return _interleaved(parts)


def _fill_each_other(parts: list[_Headers], whole: SliceStack) -> bool:
    """Whether slices that lie edge to edge would be torn into parts with gaps: rotations of one scan.

    Two scans that lie within each other are each without gaps, and overlap.
    """
    thickness = parts[0][0].traits.slice_thickness_mm or 0.0
    if whole.spacing_mm[0] > CONTIGUOUS * thickness:
        return False
    stacks = [_stack(part) for part in parts]
    return not any(
        isinstance(stack, SliceStack) and stack.spacing_mm[0] <= CONTIGUOUS * thickness for stack in stacks
    )


def _interleaved(parts: list[_Headers]) -> bool:
    """Whether two parts of many slices cover the same stretch of the patient."""
    normal = parts[0][0].planes[0].normal
    stretches = []
    for part in parts:
        if len(part) >= MINIMUM_SLICES:
            heights = [float(normal @ header.planes[0].position_mm) for header in part]
            stretches.append((min(heights), max(heights)))
    stretches.sort()
    return any(
        min(lower[1], upper[1]) - upper[0] > 0.5 * min(lower[1] - lower[0], upper[1] - upper[0])
        for lower, upper in pairwise(stretches)
    )


def _stack(headers: _Headers) -> SliceStack | Exclusion:
    try:
        stack = stack_planes([header.planes[0] for header in headers])
        if len(stack.planes) < MINIMUM_SLICES:
            raise VolumeRefusal(
                RefusalCode.TOO_FEW_SLICES,
                f"The series has {len(stack.planes)} slices; at least {MINIMUM_SLICES} are needed.",
            )
    except VolumeRefusal as refusal:
        return Exclusion(
            refusal.code.value, refusal.sentence, READABLE_IMAGES + _NEARNESS.index(refusal.code)
        )
    return stack


def _grouped(headers: _Headers, key: Callable[[InstanceHeader], Hashable]) -> list[_Headers]:
    groups: dict[Hashable, _Headers] = defaultdict(list)
    for header in headers:
        groups[key(header)].append(header)
    return list(groups.values())


def _parallel(headers: _Headers) -> list[_Headers]:
    """Images of one matrix, pixel spacing and orientation together."""
    groups: list[_Headers] = []
    for header in headers:
        plane = header.planes[0]
        alike = next((group for group in groups if plane.parallel(group[0].planes[0])), None)
        if alike is None:
            groups.append([header])
        else:
            alike.append(header)
    return groups


def _copies(headers: _Headers) -> list[_Headers]:
    """First, second, ... image of every place, by acquisition time, instance number and content time."""
    normal = headers[0].planes[0].normal
    heights = [float(normal @ header.planes[0].position_mm) for header in headers]
    places: list[_Headers] = []
    last = -np.inf
    for height, header in sorted(zip(heights, headers, strict=True), key=lambda item: item[0]):
        if height - last > SAME_PLACE_MM:
            places.append([])
            last = height
        places[-1].append(header)
    for place in places:
        place.sort(
            key=lambda item: (
                item.traits.acquisition_time,
                item.instance_number or 0,
                item.traits.content_time,
                item.sop_instance_uid,
            )
        )
    most = max(len(place) for place in places)
    return [[place[rank] for place in places if rank < len(place)] for rank in range(most)]


def _by(key: Callable[[FrameTraits], Hashable]) -> _Split:
    return lambda headers: _grouped(headers, lambda header: key(header.traits))


_by_number = _by(lambda traits: traits.acquisition_number)
_by_time = _by(lambda traits: traits.acquisition_time)

_COUNTED: tuple[_Split, ...] = (
    _by(lambda traits: traits.frame_of_reference),
    _by_number,
    _by(lambda traits: traits.stack_id),
)
"""The scanner's own coordinate systems and counts: they alone may explain a gap."""

_BY_SCAN = (_by_number, _by_time)
"""What the rotations of one scan may differ in."""

_SPLITS: tuple[_Split, ...] = (
    *_COUNTED,
    _by(lambda traits: traits.kernel),
    _by(lambda traits: traits.image_type),
    _by(lambda traits: traits.slice_thickness_mm),
    _by(lambda traits: traits.kvp),
    _by(lambda traits: traits.phase),
    _by_time,
    _copies,
)
