"""Where the frames of an instance lie, as its header says (PS3.3 C.7.6.2, C.7.6.16.2.1, .3 and .4)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydicom.dataset import Dataset

from inference import dataset_values as values
from inference.functional_groups import FunctionalGroups
from inference.image_plane import ImagePlane

FIELD_MM = (1.0, 2000.0)
"""Length of an image's sides that a CT can have; any other is a mistake of the header (or an attack)."""

FARTHEST_MM = 10_000.0
"""A table's travel from the origin; no patient lies farther."""


def planes_of_frames(dataset: Dataset, frames: Sequence[FunctionalGroups]) -> tuple[ImagePlane, ...]:
    """One plane for every frame of a multi-frame instance, () if the place of any is unknown."""
    if len(frames) != (values.integer(dataset, "NumberOfFrames") or 1):
        return ()
    # Not from the top level, where a multi-frame instance has no place.
    planes = [
        _plane(FunctionalGroups(groups.frame, groups.shared, Dataset()), dataset, number)
        for number, groups in enumerate(frames, 1)
    ]
    known = tuple(plane for plane in planes if plane is not None)
    return known if len(known) == len(planes) else ()


def single_plane(dataset: Dataset) -> tuple[ImagePlane, ...]:
    """The plane of an instance of one frame, () if it is unknown, or if it has more, against its class."""
    if (values.integer(dataset, "NumberOfFrames") or 1) != 1:
        return ()
    plane = _plane(FunctionalGroups(Dataset(), Dataset(), dataset), dataset, None)
    return () if plane is None else (plane,)


def _plane(groups: FunctionalGroups, dataset: Dataset, frame_number: int | None) -> ImagePlane | None:
    position = groups.numbers("PlanePositionSequence", "ImagePositionPatient", 3)
    orientation = groups.numbers("PlaneOrientationSequence", "ImageOrientationPatient", 6)
    spacing = groups.numbers("PixelMeasuresSequence", "PixelSpacing", 2)
    rows, columns = values.integer(dataset, "Rows"), values.integer(dataset, "Columns")
    if position is None or orientation is None or spacing is None or not rows or not columns:
        return None
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    fields = rows * spacing[0], columns * spacing[1]
    if min(fields) < FIELD_MM[0] or max(fields) > FIELD_MM[1] or np.abs(position).max() > FARTHEST_MM:
        return None
    if not np.allclose(lengths, 1, atol=0.05) or abs(row @ column) > 0.01:
        return None
    direction = tuple(float(value) for value in (*(row / lengths[0]), *(column / lengths[1])))
    return ImagePlane(
        sop_instance_uid=values.text(dataset, "SOPInstanceUID"),
        frame_number=frame_number,
        position_mm=(position[0], position[1], position[2]),
        orientation=direction,  # type: ignore[arg-type]  # six values by construction
        pixel_spacing_mm=(spacing[0], spacing[1]),
        rows=rows,
        columns=columns,
    )
