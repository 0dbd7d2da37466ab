"""Attention lies where the synthetic thorax has its finding, whichever way the patient was scanned.

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
from scipy.ndimage import map_coordinates

from inference.dicom_files import each_header
from inference.overview import CoronalOverview
from inference.saliency import SaliencyMap
from inference.saliency_file import read_saliency, saliency_bytes
from inference.saliency_masks import saliency_masks
from inference.volume import read_volume
from phantom.cases import DEMO_SEEDS, Case
from phantom.grid import Grid, centred_grid
from phantom.render import finding_masks, render
from structured_report import Attention, ReportContext
from structured_report.segmentation import segmentation
from tests.inference.marked_body import ORIENTATIONS, Orientation
from tests.inference.synthetic import ct_image, save
from tests.structured_report.attention import basis
from tests.structured_report.samples import study_result

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


def at(
    field: NDArray[np.generic], points: NDArray[np.float64], grid: Grid, outside: float
) -> NDArray[np.float64]:
    """The nearest value of a field on a grid at points (..., 3), LPS mm."""
    index = (points - np.array(grid.origin_mm)) / np.array(grid.spacing_mm[::-1])
    return map_coordinates(
        field.astype(np.float64), np.moveaxis(index[..., ::-1], -1, 0), order=0, cval=outside, prefilter=False
    )


def scanned(orientation: Orientation) -> list[Dataset]:
    """The thorax as a scanner with such an orientation stores it, the finding painted."""
    hu, mask = thorax_with_finding()
    vectors = (orientation.row, orientation.column, orientation.step)
    row, column, step = (np.array(vector, float) for vector in vectors)
    step = step / np.linalg.norm(step) * VOXEL_MM
    slices, rows, columns = GRID.shape
    first = -((rows - 1) * VOXEL_MM * column + (columns - 1) * VOXEL_MM * row + (slices - 1) * step) / 2
    down, across = np.mgrid[:rows, :columns] * VOXEL_MM
    images = []
    for index in range(slices):
        origin = first + index * step
        points = origin + down[..., None] * column + across[..., None] * row
        values = np.where(at(mask, points, GRID, 0) > 0, MARKER_HU + 100, at(hu, points, GRID, -1000))
        images.append(
            ct_image(
                index,
                (values + 1024).astype(np.int16),
                position=(float(origin[0]), float(origin[1]), float(origin[2])),
                spacing=(VOXEL_MM, VOXEL_MM),
                step_mm=VOXEL_MM,
                ImageOrientationPatient=[*orientation.row, *orientation.column],
                FrameOfReferenceUID="1.2.826.0.1.3680043.8.498.77",
            )
        )
    return images


def attention_to_marker(images: list[Dataset], folder: Path) -> Attention:
    """What a map of the marker becomes on the way that saliency goes, the stored file included."""
    paths = save(images, folder)
    volume = read_volume(paths)
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
    made = SaliencyMap(values, centres, np.eye(4), shape, np.ones(values.shape, dtype=bool))
    overview = CoronalOverview(np.zeros((1, 1), np.int16), (1, 1))
    stored = read_saliency(saliency_bytes({FINDING: made}, volume.affine, overview))
    planes = [plane for _, header in each_header(paths) if header is not None for plane in header.planes]
    masks = saliency_masks(stored, FINDING, 0.5, planes)
    return Attention(FINDING, masks, stored.maps[FINDING].values, stored.place_affine(FINDING))


def points_of(segmented: Dataset) -> NDArray[np.float64]:
    """Centres of a segmentation's pixels, LPS mm, from its own attributes (PS3.3 C.7.6.2.1.1)."""
    (shared,) = segmented.SharedFunctionalGroupsSequence
    directions = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
    down_mm, across_mm = map(float, shared.PixelMeasuresSequence[0].PixelSpacing)
    found = []
    pixels = segmented.pixel_array.reshape(-1, segmented.Rows, segmented.Columns)
    for plane, groups in zip(pixels, segmented.PerFrameFunctionalGroupsSequence, strict=True):
        position = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float)
        rows, columns = np.nonzero(plane)
        found.append(
            position
            + rows[:, None] * down_mm * directions[3:]
            + columns[:, None] * across_mm * directions[:3]
        )
    return np.concatenate(found)


@pytest.mark.parametrize("name", NAMES)
def test_segmentation_of_the_finding_lies_in_the_patient_where_the_thorax_has_it(
    name: str, context: ReportContext, tmp_path: Path
) -> None:
    images = scanned(ORIENTATIONS[name])
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
