"""The stacks within one series: usually one, several where acquisitions, phases or copies were mixed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from inference.errors import RefusalCode, VolumeRefusal
from inference.image_exclusion import Exclusion
from inference.instance_header import InstanceHeader
from inference.slice_stack import SliceStack, stack_planes

MINIMUM_SLICES = 20

_Headers = list[InstanceHeader]

# Of two series that cannot be read the later one in this order came nearer to it.
_NEARNESS = (
    RefusalCode.NOT_AXIAL,
    RefusalCode.TOO_FEW_SLICES,
    RefusalCode.GANTRY_TILT,
    RefusalCode.MIXED_GEOMETRY,
    RefusalCode.MISSING_SLICES,
)
READABLE_IMAGES = 100
"""Nearness of the least of the exclusions that concern geometry; below it lie images of other kinds."""


@dataclass(frozen=True)
class Acquisition:
    """Images that make one stack; `left_out` counts the images of the series that do not belong to it."""

    headers: tuple[InstanceHeader, ...]
    stack: SliceStack
    left_out: int

    @property
    def first(self) -> InstanceHeader:
        """Any of the images, for what they have in common."""
        return self.headers[0]


def acquisitions(headers: _Headers) -> tuple[list[Acquisition], list[Exclusion]]:
    """All stacks that the images of one series make, and why others of its images make none."""
    found: list[Acquisition] = []
    problems: list[Exclusion] = []
    for group in _grouped(headers, _geometry):
        whole = _stack(group)
        if isinstance(whole, SliceStack):
            found.append(Acquisition(tuple(group), whole, len(headers) - len(group)))
            continue
        problems.append(whole)
        found.extend(
            Acquisition(tuple(part), stack, len(headers) - len(part))
            for part, stack in _parts(group, whole.reason)
        )
    return found, problems


def _parts(headers: _Headers, problem: str) -> list[tuple[_Headers, SliceStack]]:
    """The stacks that images make when they are told apart by what differs between acquisitions."""
    # A gap may only be explained by the scanner's own count of acquisitions: else half a scan would pass.
    splits = {RefusalCode.MIXED_GEOMETRY: _SPLITS, RefusalCode.MISSING_SLICES: _SPLITS[:1]}
    for split in splits.get(RefusalCode(problem), ()):
        parts = split(headers)
        stacks = [(part, _stack(part)) for part in parts] if len(parts) > 1 else []
        found = [(part, stack) for part, stack in stacks if isinstance(stack, SliceStack)]
        if found:
            return found
    return []


def _stack(headers: _Headers) -> SliceStack | Exclusion:
    try:
        stack = stack_planes([plane for header in headers for plane in header.planes])
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


def _geometry(header: InstanceHeader) -> Hashable:
    plane = header.planes[0]
    direction = tuple(round(value, 2) + 0.0 for value in plane.orientation)
    spacing = tuple(round(value, 3) for value in plane.pixel_spacing_mm)
    return plane.rows, plane.columns, spacing, direction


def _copies(headers: _Headers) -> list[_Headers]:
    """First, second, ... image of every position, by acquisition time and instance number."""
    positions: dict[Hashable, _Headers] = defaultdict(list)
    for header in sorted(headers, key=lambda item: (item.acquisition_time, item.instance_number or 0)):
        positions[tuple(round(value, 1) for value in header.planes[0].position_mm)].append(header)
    most = max(len(group) for group in positions.values())
    return [[group[rank] for group in positions.values() if rank < len(group)] for rank in range(most)]


def _by(key: Callable[[InstanceHeader], Hashable]) -> Callable[[_Headers], list[_Headers]]:
    return lambda headers: _grouped(headers, key)


_SPLITS: tuple[Callable[[_Headers], list[_Headers]], ...] = (
    _by(lambda header: header.acquisition_number),
    _by(lambda header: header.kernel),
    _by(lambda header: header.image_type),
    _by(lambda header: header.slice_thickness_mm),
    _by(lambda header: header.kvp),
    _by(lambda header: header.phase),
    _by(lambda header: header.acquisition_time),
    _copies,
)
