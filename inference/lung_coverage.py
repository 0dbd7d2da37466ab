"""Which part of the lungs a series does not show: how many millimetres are missing, and at which end.

Nothing beyond the last slice was seen, so what is missing is estimated from the lungs' area in that slice. A
lung tapers towards apex and base in much the same way in everyone if lengths are counted in units of the
square root of its largest cross-section: the tables below lie between two public chest CTs and twelve
synthetic thoraces, whose ends they give within 20 mm. Where the last slice is nearly as large as the largest
one its area says nothing any more, and there is only a lower bound: what an end has from that area on, or
what a lung of that width lacks of its least height.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from inference.errors import RefusalCode, VolumeRefusal
from inference.lungs import Lungs

End = Literal["head", "feet"]

SHARES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
BEYOND = {
    "head": (0.0, 0.01, 0.026, 0.048, 0.085, 0.13, 0.17, 0.22, 0.27, 0.32, 0.38),
    "feet": (0.0, 0.06, 0.1, 0.14, 0.19, 0.22, 0.25, 0.27, 0.295, 0.315, 0.34),
}
"""What lies beyond a slice whose area is such a share of the largest, in units of the root of the latter."""

LEAST_HEIGHT = 1.3
"""Height of the lungs in the same units: 1.4 to 1.6 in the same chests, and less for a bound."""

LEAST_SHARE = 0.02  # of the largest area: less is the tip of a recess
WIDE_OPEN_SHARE = 0.8
MOST_MISSING = 1 / 3
"""Of the lungs' height. A series that lacks more, or that stops where they are widest, is refused."""


@dataclass(frozen=True)
class OpenEnd:
    """An end at which the series stops within the lungs.

    `missing_mm` is what is missing there, or the least of it where `at_least`; `area_share` is the lungs'
    area in the last slice over their largest.
    """

    end: End
    missing_mm: float
    at_least: bool
    area_share: float

    @property
    def words(self) -> str:
        """How much is missing where, rounded to 5 mm."""
        rounded = max(5, 5 * round(self.missing_mm / 5))
        return f"{'at least' if self.at_least else 'about'} {rounded} mm at the {self.end} end"


def open_ends(lungs: Lungs) -> tuple[OpenEnd, ...]:
    """The ends that are cut off, the one towards the head first; none where both lungs are seen whole."""
    areas = lungs.areas_mm2
    unit_mm = float(np.sqrt(areas.max()))
    shares: dict[End, float] = {"head": areas[-1] / areas.max(), "feet": areas[0] / areas.max()}
    missing = {end: unit_mm * _beyond(end, share) for end, share in shares.items() if share >= LEAST_SHARE}
    lacking_mm = LEAST_HEIGHT * unit_mm - _seen_mm(areas, lungs) - sum(missing.values())
    wide = [end for end in missing if shares[end] >= WIDE_OPEN_SHARE]
    for end in wide:
        missing[end] += max(lacking_mm, 0.0) / len(wide)
    return tuple(OpenEnd(end, missing[end], end in wide, float(shares[end])) for end in missing)


def cut_off_warnings(ends: Sequence[OpenEnd]) -> tuple[str, ...]:
    """A sentence for each end that is cut off."""
    return tuple(
        f"The series stops within the lungs: {end.words} are missing and were not seen." for end in ends
    )


def refuse_truncated(lungs: Lungs) -> None:
    """Refuse a series that lacks a large part of the lungs.

    Raises
    ------
    VolumeRefusal
        `lungs_truncated` if more than `MOST_MISSING` of their height is missing, or if the series stops at
        `WIDE_OPEN_SHARE` of their largest area or more.
    """
    ends = open_ends(lungs)
    missing_mm = sum(end.missing_mm for end in ends)
    height_mm = _seen_mm(lungs.areas_mm2, lungs) + missing_mm
    if missing_mm > MOST_MISSING * height_mm or any(end.at_least for end in ends):
        listed = " and ".join(end.words for end in ends)
        raise VolumeRefusal(
            RefusalCode.LUNGS_TRUNCATED, f"The series does not show a large part of the lungs: {listed}."
        )


def _beyond(end: End, share: float) -> float:
    return float(np.interp(share, SHARES, BEYOND[end]))


def _seen_mm(areas: NDArray[np.float64], lungs: Lungs) -> float:
    return float((areas >= LEAST_SHARE * areas.max()).sum()) * lungs.spacing_mm[0]
