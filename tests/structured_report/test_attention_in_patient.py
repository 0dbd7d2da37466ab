"""Attention lies where the synthetic thorax has its finding, and on its side, whichever way it was scanned.

A scanner's series of one thorax is made in each orientation, with the finding painted brighter than any
tissue; that marker, in place of a saliency, goes the whole way: volume, coarse map, masks of the images,
segmentation. The segmentation's own geometry, in patient coordinates, is compared with the thorax's mask.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from inference.dicom_files import each_header
from inference.lungs import find_lungs
from inference.overview import CoronalOverview
from inference.saliency import SaliencyMap
from inference.saliency_file import read_saliency, saliency_bytes
from inference.saliency_masks import saliency_masks
from inference.saliency_region import saliency_piece
from inference.volume import CTVolume, read_volume
from phantom.cases import DEMO_SEEDS, Case
from phantom.grid import centred_grid
from phantom.render import finding_masks, render
from structured_report import Attention, ReportContext
from structured_report.segmentation import segmentation
from tests.inference.marked_body import ORIENTATIONS, Orientation
from tests.inference.synthetic import save
from tests.structured_report.attention import basis
from tests.structured_report.content import SIDE, SITE, built, children, coded, group_of, written
from tests.structured_report.samples import study_result
from tests.structured_report.turned_thorax import at, points_of, scanned

FINDING, SEED = "Pleural effusion", DEMO_SEEDS[2]
VOXEL_MM, PLACE_VOXELS, MARKER_HU = 4.0, 2, 2500
GRID = centred_grid((VOXEL_MM, VOXEL_MM, VOXEL_MM), (80, 100, 104))
CENTRES_APART_MM = 4.0  # half a place of the map: what its grid cannot tell apart
NAMES = (
    "head first, supine",
    "head first, prone",
    "feet first, supine",
    "feet first, prone",
    "oblique by 10 degrees",
    "oblique, feet first",
)


@cache
def thorax_with_finding() -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """HU and the finding's mask, [z, y, x] on `GRID`."""
    case = Case(SEED, (FINDING,))
    hu = render(case, GRID, noise_hu=0).astype(np.float32)
    return np.minimum(hu, 1500), finding_masks(case, GRID)[FINDING]


def with_marker(orientation: Orientation) -> list[Dataset]:
    """The thorax as a scanner with such an orientation stores it, the finding painted."""
    hu, mask = thorax_with_finding()
    return scanned(np.where(mask, MARKER_HU + 100, hu), GRID, orientation)


def marker(volume: CTVolume) -> SaliencyMap:
    """A map of the marker in places of two voxels, as if a network had looked at nothing else."""
    shape = volume.voxels_hu.shape
    axes = [np.arange(PLACE_VOXELS / 2 - 0.5, count, PLACE_VOXELS) for count in shape]
    marked = (volume.voxels_hu >= MARKER_HU).astype(np.float32)
    whole = tuple(count - count % PLACE_VOXELS for count in shape)
    blocks = marked[: whole[0], : whole[1], : whole[2]].reshape(
        whole[0] // PLACE_VOXELS,
        PLACE_VOXELS,
        whole[1] // PLACE_VOXELS,
        PLACE_VOXELS,
        whole[2] // PLACE_VOXELS,
        -1,
    )
    values = blocks.mean(axis=(1, 3, 5))
    centres = tuple(axis[:count] for axis, count in zip(axes, values.shape, strict=True))
    return SaliencyMap(values, centres, np.eye(4), shape, np.ones(values.shape, dtype=bool))


def attention_to_marker(images: list[Dataset], folder: Path) -> Attention:
    """What a map of the marker becomes on the way that saliency goes, the stored file included."""
    paths = save(images, folder)
    volume = read_volume(paths)
    made = marker(volume)
    overview = CoronalOverview(np.zeros((1, 1), np.int16), (1, 1))
    stored = read_saliency(saliency_bytes({FINDING: made}, volume.affine, overview))
    planes = [plane for _, header in each_header(paths) if header is not None for plane in header.planes]
    masks = saliency_masks(stored, FINDING, 0.5, planes)
    return Attention(FINDING, masks, stored.maps[FINDING].values, stored.place_affine(FINDING))


@pytest.mark.parametrize("name", NAMES)
def test_segmentation_of_the_finding_lies_in_the_patient_where_the_thorax_has_it(
    name: str, context: ReportContext, tmp_path: Path
) -> None:
    images = with_marker(ORIENTATIONS[name])
    attention = attention_to_marker(images, tmp_path)
    result = study_result(images)
    located = replace(result.findings[3], name=FINDING)
    told = replace(result, findings=(located,), most_dangerous=FINDING)
    (item,) = segmentation(basis(told, images, context), [attention])
    points = points_of(pydicom.dcmread(BytesIO(item.to_bytes())))
    _, mask = thorax_with_finding()
    truth = np.argwhere(mask)[:, ::-1] * VOXEL_MM + np.array(GRID.origin_mm)
    assert np.linalg.norm(points.mean(axis=0) - truth.mean(axis=0)) < CENTRES_APART_MM
    inside = at(mask, points, GRID, 0) > 0
    assert inside.mean() > 0.8
    # As large as it, too: a region in the right place could still be a point.
    assert 0.7 < len(points) / len(truth) < 1.3


@pytest.mark.parametrize("name", NAMES)
def test_report_tells_the_patient_s_side_of_the_finding(
    name: str, context: ReportContext, tmp_path: Path
) -> None:
    _, mask = thorax_with_finding()
    on_left = np.argwhere(mask)[:, 2] * VOXEL_MM + GRID.origin_mm[0] > 0  # LPS
    assert on_left.mean() in {0.0, 1.0}
    images = with_marker(ORIENTATIONS[name])
    volume = read_volume(save(images, tmp_path))
    piece = saliency_piece(marker(volume), 0.5)
    assert piece is not None
    result = study_result(images)
    found = replace(result.findings[3], name=FINDING, laterality=piece.side(find_lungs(volume)))
    told = replace(result, findings=(found,), most_dangerous=FINDING)
    report = written(built(told, images, context))
    (site,) = children(group_of(report, FINDING), SITE)
    (side,) = children(site, SIDE)
    assert coded(side.ConceptCodeSequence)[0] == ("7771000" if on_left.all() else "24028007")
