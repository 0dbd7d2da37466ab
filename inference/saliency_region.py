"""Where a present finding lies: the piece of its saliency that holds the peak, as a polygon, and its side.

It shows where the algorithm looked. It is no outline of a lesion: a place of the map is as large as a token.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from contourpy import contour_generator
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree

from inference.lungs import Lungs
from inference.morphology import Mask, eroded
from inference.saliency import SaliencyMap
from inference.study_result import Laterality, SaliencyRegion, SliceReference
from inference.volume import CTVolume

ONE_SIDE = 0.8
"""Share of a finding's saliency that one side must hold for the finding to be called by it."""

_STEPS_TO_A_PLACE = 4  # of the contour; the map is linear in between
_APART = 1e-6  # how clearly inside and outside are told apart


@dataclass(frozen=True)
class SaliencyPiece:
    """The connected places of a map at or above a threshold that hold its peak.

    Attributes
    ----------
    places
        Boolean, over the map's grid.
    peak
        The map's value at its peak.
    """

    saliency: SaliencyMap
    threshold: float
    places: Mask
    peak: float

    def side(self, lungs: Lungs) -> Laterality | None:
        """The patient's side that holds at least `ONE_SIDE` of the saliency from the threshold on, if any.

        All of it counts, not only the piece: a finding of both sides has its peak on one of them. A place
        outside of both lungs belongs to the nearer one.
        """
        places = (self.saliency.values >= self.threshold) & self.saliency.seen
        points = (self.saliency.points[places] + 0.5) / lungs.factors - 0.5
        left = _distances_mm(points, lungs.left, lungs) <= _distances_mm(points, lungs.right, lungs)
        weights = self.saliency.values[places]
        share = float(weights[left].sum() / weights.sum())
        if share >= ONE_SIDE:
            return "left"
        return "right" if share <= 1 - ONE_SIDE else None

    def region(self, volume: CTVolume) -> SaliencyRegion | None:
        """The piece on the slice of its peak; None where it reaches the threshold in no voxel near that.

        So it is where it does between two slices only, or outside of the body.
        """
        voxel = self.saliency.peak()
        if voxel is None:
            return None
        index, row, column = voxel
        polygon = _outline(self.saliency, voxel, self.threshold)
        if polygon is None:
            return None
        uid, frame = volume.sop_instance_uids[index], volume.frame_numbers[index]
        reference = SliceReference(index, uid, frame, float(row), float(column))
        return SaliencyRegion(reference, polygon, self.peak, self.threshold)


def saliency_piece(saliency: SaliencyMap, threshold: float) -> SaliencyPiece | None:
    """The piece that holds the peak of a map; None if the peak lies below the threshold, or there is none."""
    place = saliency.peak_place()
    if place is None or saliency.values[place] < threshold:
        return None
    labels, _ = ndimage.label((saliency.values >= threshold) & saliency.seen)
    places: Mask = labels == labels[place]
    return SaliencyPiece(saliency, threshold, places, float(saliency.values[place]))


def _distances_mm(points: NDArray[np.float64], lung: Mask, lungs: Lungs) -> NDArray[np.float64]:
    """Distance of points (n, 3), in indices of the lungs' grid, to a lung; 0 inside of it."""
    distances = np.full(len(points), np.inf)
    if not lung.any():
        return distances
    surface = np.argwhere(lung & ~eroded(lung)) * lungs.spacing_mm
    distances[:], _ = KDTree(surface).query(points * lungs.spacing_mm)
    nearest = np.rint(points).astype(int)
    within = ((nearest >= 0) & (nearest < lung.shape)).all(axis=1)
    distances[within] *= ~lung[tuple(nearest[within].T)]
    return distances


def _outline(
    saliency: SaliencyMap, voxel: tuple[int, int, int], threshold: float
) -> tuple[tuple[float, float], ...] | None:
    """The outer edge of the piece around a voxel on its slice, closed, as SCOORD counts; None without one.

    The map is linear between places that lie many pixels apart, so that not every pixel is needed. Closed
    along the edge of the body, where that is known, and else of the image.
    """
    index, row, column = voxel
    plane = saliency.reach(index, threshold)
    rows, columns = (
        _sampled(count, kept, _step(saliency, axis))
        for axis, (count, kept) in enumerate(zip(plane.shape, (row, column), strict=True), start=1)
    )
    values = plane[np.ix_(rows, columns)].astype(np.float64)
    labels, _ = ndimage.label(values >= 1)
    label = labels[np.searchsorted(rows, row), np.searchsorted(columns, column)]
    if label == 0:
        return None
    piece = ndimage.binary_fill_holes(labels == label)
    values = np.where(piece, np.maximum(values, 1 + _APART), np.minimum(values, 1 - _APART))
    # A frame at the image's edge, so that the outline closes there.
    lines = contour_generator(
        x=np.array([-0.5, *columns, plane.shape[1] - 0.5]),
        y=np.array([-0.5, *rows, plane.shape[0] - 0.5]),
        z=np.pad(values, 1),
    ).lines(1.0)
    outer = max((np.asarray(line) for line in lines), key=_area)
    return tuple((round(float(x) + 0.5, 2), round(float(y) + 0.5, 2)) for x, y in outer)


def _step(saliency: SaliencyMap, axis: int) -> int:
    """Pixels between two samples along rows (axis 1) or columns (axis 2) of the CT.

    Where the map ends with the body, no more than lie between two voxels of that.
    """
    points = saliency.points
    apart = [
        np.abs(np.diff(points[..., axis], axis=other)).max()
        for other, count in enumerate(saliency.values.shape)
        if count > 1
    ]
    step = max(1, int(max(apart, default=1.0) / _STEPS_TO_A_PLACE))
    return step if saliency.body is None else min(step, saliency.body.factors[axis])


def _sampled(count: int, kept: int, step: int) -> NDArray[np.intp]:
    """Every `step`-th of `count` indices, with the last one and `kept`."""
    return np.union1d(np.arange(0, count, step), [kept, count - 1]).astype(np.intp)


def _area(line: NDArray[np.float64]) -> float:
    """Area within a closed line (n, 2)."""
    x, y = line[:-1].T
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)
