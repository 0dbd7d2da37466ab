"""Where a source image lies in the patient, and which side of it is the patient's right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from structured_report.errors import SourceError

_OPPOSITE = {"L": "R", "R": "L", "P": "A", "A": "P", "H": "F", "F": "H"}


@dataclass(frozen=True)
class ImagePlane:
    """Plane of one image or frame in patient coordinates (LPS, mm; PS3.3 C.7.6.2).

    `position_mm` is the centre of the first pixel, `row_direction` the unit vector of increasing column,
    `column_direction` that of increasing row.
    """

    position_mm: NDArray[np.float64]
    row_direction: NDArray[np.float64]
    column_direction: NDArray[np.float64]

    @property
    def patient_orientation(self) -> tuple[str, str]:
        """Letters of the directions of the rows and of the columns, as PatientOrientation (0020,0020)."""
        return _letter(self.row_direction), _letter(self.column_direction)

    @property
    def edges(self) -> dict[str, str]:
        """Letter of the patient's side at each edge of the image."""
        right, bottom = self.patient_orientation
        return {"left": _OPPOSITE[right], "right": right, "top": _OPPOSITE[bottom], "bottom": bottom}


def image_plane(header: Dataset, frame_number: int | None) -> ImagePlane:
    """The plane of an image, or of frame `frame_number` (from 1) of a multi-frame image.

    Raises
    ------
    SourceError
        If the header holds no position or orientation.
    """
    holders = [header]
    if frame_number is not None:
        frames = header.get("PerFrameFunctionalGroupsSequence") or []
        groups = [
            *frames[frame_number - 1 : frame_number],
            *(header.get("SharedFunctionalGroupsSequence") or []),
        ]
        for group in groups:
            holders += [*group.get("PlanePositionSequence", []), *group.get("PlaneOrientationSequence", [])]
    position = _first(holders, "ImagePositionPatient", 3)
    orientation = _first(holders, "ImageOrientationPatient", 6)
    return ImagePlane(position, orientation[:3], orientation[3:])


def _first(holders: list[Dataset], keyword: str, length: int) -> NDArray[np.float64]:
    for holder in holders:
        value = holder.get(keyword)
        if value is not None and len(value) == length:
            return np.asarray(value, dtype=np.float64)
    raise SourceError(f"a source image has no {keyword}")


def _letter(direction: NDArray[np.float64]) -> str:
    axis = int(np.argmax(np.abs(direction)))
    return "LPH"[axis] if direction[axis] > 0 else "RAF"[axis]
