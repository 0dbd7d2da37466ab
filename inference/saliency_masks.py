"""Where the saliency of a finding reaches a threshold, on the source's own images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from inference.image_plane import ImagePlane
from inference.saliency_file import StoredSaliency

ImageMasks = dict[tuple[str, int | None], NDArray[np.bool_]]
"""Boolean [row, column] by SOP Instance UID and frame number (from 1; None in a single-frame instance)."""


def saliency_masks(
    stored: StoredSaliency, name: str, threshold: float, planes: Sequence[ImagePlane]
) -> ImageMasks:
    """The pixels of each image at which a finding's map is at least `threshold`, of images that have any.

    Parameters
    ----------
    stored
        The file beside the result.
    name
        Name of the finding; KeyError where the file has no map of it.
    threshold
        In the map's own unit (log-odds for each place).
    planes
        Where the analysed images lie.
    """
    saliency = stored.maps[name]
    to_volume = np.linalg.inv(stored.volume_affine)
    masks: ImageMasks = {}
    for plane in planes:
        index = round(float((to_volume @ np.array([*plane.position_mm, 1.0]))[2]))
        if not 0 <= index < saliency.shape[0]:
            continue
        mask = saliency.plane(index) >= threshold
        if mask.any():
            masks[plane.sop_instance_uid, plane.frame_number] = mask
    return masks
