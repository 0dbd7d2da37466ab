"""The pixels of attention lie where the map does in the patient, on series of any orientation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from inference.dicom_files import each_header
from inference.overview import CoronalOverview
from inference.saliency import SaliencyMap
from inference.saliency_file import StoredSaliency
from inference.saliency_masks import saliency_masks
from inference.volume import CTVolume, read_volume
from tests.inference.marked_body import MARKER_HU, ORIENTATIONS, marked_series
from tests.inference.synthetic import save

PLACE_VOXELS = 2


def marker_map(volume: CTVolume) -> SaliencyMap:
    """A map in a grid of 2 x 2 x 2 voxels whose values are 1 at the marker and 0 elsewhere."""
    shape = volume.voxels_hu.shape
    centres = tuple(np.arange(PLACE_VOXELS / 2 - 0.5, count, PLACE_VOXELS) for count in shape)
    places = [
        np.clip(np.rint(axis).astype(int), 0, count - 1) for axis, count in zip(centres, shape, strict=True)
    ]
    values = (volume.voxels_hu[np.ix_(*places)] >= MARKER_HU).astype(np.float32)
    return SaliencyMap(values, centres, np.eye(4), shape, np.ones(values.shape, dtype=bool))


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_masks_cover_the_marker_on_the_source_images(name: str, tmp_path: Path) -> None:
    images = marked_series(ORIENTATIONS[name])
    paths = save(images, tmp_path)
    volume = read_volume(paths)
    stored = StoredSaliency(
        {"Marker": marker_map(volume)}, volume.affine, CoronalOverview(np.zeros((1, 1), np.int16), (1, 1))
    )
    planes = [plane for _, header in each_header(paths) if header is not None for plane in header.planes]
    masks = saliency_masks(stored, "Marker", 0.5, planes)
    marked = {image.SOPInstanceUID: image.pixel_array - 1024 >= MARKER_HU for image in images}
    inside = sum(int((masks[uid, None] & marked[uid]).sum()) for uid, _ in masks)
    both = sum(int(mask.sum()) for mask in masks.values()) + sum(int(mask.sum()) for mask in marked.values())
    assert 2 * inside / both > 0.7  # a place of two voxels is what such a grid can tell apart
    assert {uid for uid, _ in masks} <= set(marked)
    assert len(masks) < len(images) / 2


def test_a_threshold_above_the_map_leaves_no_image(tmp_path: Path) -> None:
    paths = save(marked_series(ORIENTATIONS["head first, supine"]), tmp_path)
    volume = read_volume(paths)
    stored = StoredSaliency(
        {"Marker": marker_map(volume)}, volume.affine, CoronalOverview(np.zeros((1, 1), np.int16), (1, 1))
    )
    planes = [plane for _, header in each_header(paths) if header is not None for plane in header.planes]
    assert saliency_masks(stored, "Marker", 1.5, planes) == {}
    with pytest.raises(KeyError):
        saliency_masks(stored, "Nothing", 0.5, planes)
