"""From aerated lung to two lungs: large airways taken out, sides told apart, vessels and nodules filled in.

What has no air in it and lies at the lung's edge (effusion, consolidation that reaches the pleura, a tumour
of the hilum) stays outside, as with every method by threshold.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from inference.coarse_grid import CoarseGrid
from inference.morphology import Mask, closed, dilated, eroded

AIRWAY_BELOW_HU = -900  # lumen of the trachea and the main bronchi
TRACHEA_MM2 = (60.0, 700.0)
TRACHEA_OFF_MIDLINE_MM = 30.0
TRACHEA_LENGTH_MM = 30.0
LONGEST_SIDE, FILLED = 2.2, 0.6  # of the box around a trachea: longer to shorter side, share of it
AIRWAY_WIDENING = 2.0
"""From one plane to the next; what widens more has broken into the lung and is followed no further."""

ONE_SIDE = 0.85  # of a piece of lung on one side of the midline
COUNTED_PIECE = 0.02  # of both lungs: smaller pieces are not asked whether they cross the midline
MOST_EROSIONS = 4
ONE_LUNG = 0.7
"""Of a piece on one side of the midline that no erosion parts: one lung that reaches over it, as after the
other one was taken out. Two lungs that touch share more evenly."""

CLOSING_MM = 6.0
"""Half the width of vessels and fissures that are filled in; the lung's outer shape stays."""

_IN_PLANE = np.zeros((3, 3, 3), bool)
_IN_PLANE[1] = ndimage.generate_binary_structure(2, 1)


def lung_fields(grid: CoarseGrid, aerated: Mask, midline_mm: float) -> tuple[Mask, Mask]:
    """The left and the right lung, [slice, row, column] of the grid.

    Parameters
    ----------
    grid
        The CT.
    aerated
        Air and aerated lung that belongs to the lungs.
    midline_mm
        LPS x of the body's middle.
    """
    steps = max(1, round(CLOSING_MM / float(np.mean(grid.spacing_mm))))
    box = _box(aerated, steps + 1)
    hu, left_mm, lungs = grid.hu[box], grid.left_mm[box], aerated[box]
    airways = dilated(_large_airways(hu, left_mm - midline_mm, grid.spacing_mm))
    pieces = _sides(lungs & ~airways, left_mm > midline_mm)
    left, right = (_filled(closed(piece, steps) | piece) & ~airways for piece in pieces)
    fields = np.zeros((2, *aerated.shape), dtype=bool)
    fields[0][box] = left & ~pieces[1]
    fields[1][box] = right & ~pieces[0] & ~fields[0][box]
    return fields[0], fields[1]


def _box(mask: Mask, margin: int) -> tuple[slice, ...]:
    """The part of the array that holds the mask and a margin."""
    planes = [np.flatnonzero(mask.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1))]
    return tuple(slice(max(int(on[0]) - margin, 0), int(on[-1]) + 1 + margin) for on in planes)


def _large_airways(
    hu: NDArray[np.float32], from_midline_mm: NDArray[np.float32], spacing_mm: tuple[float, float, float]
) -> Mask:
    """Trachea and main bronchi, followed from plane to plane towards the feet; empty where none is found."""
    labels, count = ndimage.label(hu < AIRWAY_BELOW_HU, structure=_IN_PLANE)
    voxels = np.bincount(labels.ravel(), minlength=count + 1)
    areas: NDArray[np.float64] = voxels * np.float64(spacing_mm[1] * spacing_mm[2])
    areas[0] = np.inf
    least_planes = TRACHEA_LENGTH_MM / spacing_mm[0]
    for top in range(len(labels) - 1, -1, -1):
        for piece in _tracheal(labels[top], areas, from_midline_mm[top]):
            followed = _followed(labels, areas, top, piece)
            if followed.any(axis=(1, 2)).sum() >= least_planes:
                return followed
    return np.zeros(labels.shape, dtype=bool)


def _tracheal(
    plane: NDArray[np.int32], areas: NDArray[np.float64], from_midline_mm: NDArray[np.float32]
) -> list[int]:
    """Pieces of a plane that are as large, as round and as near to the midline as a trachea."""
    near = np.unique(plane[np.abs(from_midline_mm) <= TRACHEA_OFF_MIDLINE_MM])
    low, high = TRACHEA_MM2
    found = []
    for piece in near[(areas[near] >= low) & (areas[near] <= high)]:
        rows, columns = np.nonzero(plane == piece)
        sides = int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1
        off_midline = abs(float(from_midline_mm[rows, columns].mean()))
        round_enough = max(sides) <= LONGEST_SIDE * min(sides) and len(rows) >= FILLED * sides[0] * sides[1]
        if round_enough and off_midline <= TRACHEA_OFF_MIDLINE_MM:
            found.append(int(piece))
    return found


def _followed(labels: NDArray[np.int32], areas: NDArray[np.float64], top: int, piece: int) -> Mask:
    airway = np.zeros(labels.shape, dtype=bool)
    airway[top] = labels[top] == piece
    for index in range(top - 1, -1, -1):
        above = airway[index + 1]
        if not above.any():
            break
        above_mm2 = areas[np.unique(labels[index + 1][above])].sum()
        met = np.unique(labels[index][above])
        kept = met[areas[met] <= min(TRACHEA_MM2[1], AIRWAY_WIDENING * above_mm2)]
        airway[index] = np.isin(labels[index], kept)
    return airway


def _sides(lungs: Mask, on_left: Mask) -> tuple[Mask, Mask]:
    """Left and right: each piece to the side where it lies, once erosion has parted the lungs.

    Where they touch in front of the aorta or behind the heart, the midline alone would cut a lung that
    reaches over it.
    """
    core = lungs
    for erosions in range(MOST_EROSIONS + 1):
        labels, count = ndimage.label(core)
        sizes = np.bincount(labels.ravel(), minlength=count + 1)
        share = np.bincount(labels[on_left], minlength=count + 1) / np.maximum(sizes, 1)
        crossing = (share > 1 - ONE_SIDE) & (share < ONE_SIDE)
        crossing &= sizes >= COUNTED_PIECE * sizes[1:].sum()
        crossing[0] = False
        if not crossing.any() or erosions == MOST_EROSIONS:
            break
        core = eroded(core)
    towards_left = share > 0.5
    split = (crossing & (share > 1 - ONE_LUNG) & (share < ONE_LUNG))[labels]
    left = core & np.where(split, on_left, towards_left[labels])
    right = core & ~left
    for _ in range(2 * erosions):
        left |= dilated(left) & lungs & ~right
        right |= dilated(right) & lungs & ~left
    rest = lungs & ~left & ~right
    left = _whole_lungs(lungs, left | (rest & on_left))
    return left, lungs & ~left


def _whole_lungs(lungs: Mask, left: Mask) -> Mask:
    """The left lung, where a piece nearly all of one side is one lung with its tip over the midline."""
    pieces, count = ndimage.label(lungs)
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    share = np.bincount(pieces[left], minlength=count + 1) / np.maximum(sizes, 1)
    wholly_left: Mask = (share > ONE_SIDE)[pieces]
    shared: Mask = ((share >= 1 - ONE_SIDE) & (share <= ONE_SIDE))[pieces]
    return (wholly_left & lungs) | (shared & left)


def _filled(lung: Mask) -> Mask:
    """The lung with what it encloses on all sides."""
    outside, _ = ndimage.label(~lung)
    rim = [outside[[0, -1]], outside[:, [0, -1]], outside[:, :, [0, -1]]]
    open_to_rim = np.unique(np.concatenate([face.ravel() for face in rim]))
    enclosed = np.ones(int(outside.max()) + 1, bool)
    enclosed[open_to_rim] = enclosed[0] = False
    filled: Mask = lung | enclosed[outside]
    return filled
