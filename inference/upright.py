"""A volume turned to the patient's axes: columns to the left, rows to the back, slices to the head."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from inference.errors import RefusalCode, VolumeRefusal
from inference.pixels import AIR_HU, HounsfieldArray
from inference.slice_stack import UPRIGHT_DEGREES
from inference.volume import CTVolume

MOST_GROWTH = 16
SMALL_VOXELS = 1 << 24
"""Voxels after resampling for each one before, and what is never too many: a volume at 30 degrees to the axes
takes up to five times as many, long and flat voxels more, and memory is bounded by it."""


@dataclass(frozen=True)
class UprightVolume:
    """Voxels along the patient's axes.

    Attributes
    ----------
    voxels_hu
        [z, y, x], ascending towards head, back and left.
    spacing_mm
        (z, y, x)
    to_source
        4 x 4: (z, y, x) indices here to (slice, row, column) indices of the volume it came from.
    """

    voxels_hu: HounsfieldArray
    spacing_mm: tuple[float, float, float]
    to_source: NDArray[np.float64]


def upright(volume: CTVolume) -> UprightVolume:
    """The volume along the patient's axes: turned without copying, resampled only if it lies obliquely."""
    # Columns: where a step in slice, row or column leads in (z, y, x), LPS mm turned round.
    steps = volume.affine[:3, :3][::-1, ::-1]
    directions = steps / np.linalg.norm(steps, axis=0)
    axes = np.abs(directions).argmax(axis=0)
    aligned = np.abs(directions).max(axis=0) >= np.cos(np.radians(UPRIGHT_DEGREES))
    if aligned.all() and sorted(axes) == [0, 1, 2]:
        return _turned(volume, directions, axes)
    return _resampled(volume, steps)


def _turned(volume: CTVolume, directions: NDArray[np.float64], axes: NDArray[np.intp]) -> UprightVolume:
    order = np.argsort(axes)
    voxels = volume.voxels_hu.transpose(order)
    to_source = np.eye(4)
    to_source[:3, :3] = np.eye(3)[:, order]
    for axis, source in enumerate(order):
        if directions[axis, source] < 0:
            to_source[source, axis] = -1
            to_source[source, 3] = volume.voxels_hu.shape[source] - 1
            voxels = np.flip(voxels, axis)
    spacing = tuple(volume.spacing_mm[source] for source in order)
    return UprightVolume(voxels, (spacing[0], spacing[1], spacing[2]), to_source)


def _resampled(volume: CTVolume, steps: NDArray[np.float64]) -> UprightVolume:
    """Trilinear, on a grid that holds the whole volume; what lies outside of it is air."""
    shape = np.array(volume.voxels_hu.shape)
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in shape], indexing="ij")).reshape(3, -1)
    reached = steps @ corners
    low, high = reached.min(axis=1), reached.max(axis=1)
    in_plane = float(min(volume.spacing_mm[1:]))
    # The distance of neighbouring slices across their planes, which a tilt makes shorter than the step.
    apart = abs(float(np.linalg.det(steps))) / float(np.linalg.norm(np.cross(steps[:, 1], steps[:, 2])))
    spacing = np.array([apart, in_plane, in_plane])
    size = np.ceil((high - low) / spacing).astype(int) + 1
    # About the volume's middle, as the networks' input is centred, so that a turned scan gives no other one.
    start = (low + high) / 2 - (size - 1) / 2 * spacing
    to_source = np.eye(4)
    to_source[:3, :3] = np.linalg.inv(steps) @ np.diag(spacing)
    if np.prod(size, dtype=np.float64) > max(MOST_GROWTH * volume.voxels_hu.size, SMALL_VOXELS):
        raise VolumeRefusal(
            RefusalCode.MIXED_GEOMETRY,
            "The voxels are so much longer than wide that the oblique volume cannot be resampled.",
        )
    to_source[:3, 3] = np.linalg.inv(steps) @ start
    voxels = ndimage.affine_transform(
        volume.voxels_hu, to_source[:3, :3], to_source[:3, 3], output_shape=tuple(size),
        output=np.float32, order=1, mode="constant", cval=AIR_HU,
    )  # fmt: skip
    return UprightVolume(voxels, (apart, in_plane, in_plane), to_source)
