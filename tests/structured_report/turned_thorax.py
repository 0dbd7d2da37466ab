"""A synthetic thorax as a scanner with any orientation stores it, and where pixels of objects lie in it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from scipy.ndimage import map_coordinates

from phantom.grid import Grid
from tests.inference.marked_body import Orientation
from tests.inference.synthetic import ct_image


def at(
    field: NDArray[np.generic],
    points: NDArray[np.float64],
    grid: Grid,
    outside: float,
    *,
    linear: bool = False,
) -> NDArray[np.float64]:
    """The nearest value of a field on a grid, or one between its neighbours, at points (..., 3), LPS mm."""
    index = (points - np.array(grid.origin_mm)) / np.array(grid.spacing_mm[::-1])
    places = np.moveaxis(index[..., ::-1], -1, 0)
    return map_coordinates(
        field.astype(np.float64), places, order=1 if linear else 0, cval=outside, prefilter=False
    )


def scanned(
    hu: NDArray[np.generic], grid: Grid, orientation: Orientation, *, linear: bool = False
) -> list[Dataset]:
    """Hounsfield units on a grid, as a scanner with such an orientation and the same voxels stores them."""
    depth_mm, down_mm, across_mm = grid.spacing_mm
    vectors = (orientation.row, orientation.column, orientation.step)
    row, column, step = (np.array(vector, float) for vector in vectors)
    step = step / np.linalg.norm(step) * depth_mm
    slices, rows, columns = grid.shape
    first = -((rows - 1) * down_mm * column + (columns - 1) * across_mm * row + (slices - 1) * step) / 2
    down, across = np.mgrid[:rows, :columns]
    images = []
    for index in range(slices):
        origin = first + index * step
        points = origin + down[..., None] * down_mm * column + across[..., None] * across_mm * row
        values = at(hu, points, grid, -1000, linear=linear)
        images.append(
            ct_image(
                index,
                (np.rint(values) + 1024).astype(np.int16),
                position=(float(origin[0]), float(origin[1]), float(origin[2])),
                spacing=(down_mm, across_mm),
                step_mm=depth_mm,
                ImageOrientationPatient=[*orientation.row, *orientation.column],
                FrameOfReferenceUID="1.2.826.0.1.3680043.8.498.77",
            )
        )
    return images


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


def on_image(image: Dataset, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(column, row) points of an image, as SCOORD counts them (the first pixel's corner is 0), in LPS mm."""
    directions = np.array(image.ImageOrientationPatient, float)
    down_mm, across_mm = map(float, image.PixelSpacing)
    column, row = (points - 0.5).T
    first = np.array(image.ImagePositionPatient, float)
    return first + row[:, None] * down_mm * directions[3:] + column[:, None] * across_mm * directions[:3]
