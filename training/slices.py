"""Axial slices for the diffusion member: which are drawn, and which of them are abnormal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from training.dataset import CELL, Thoraces

# The planes that inference looks at: the first and the last twentieth are mostly neck and abdomen.
_FIRST, _LAST = 0.05, 0.95
# A finding that only grazes a plane is not there to be seen: at least two cells (about 9 x 18 mm) must be
# hit.
_LEAST_CELLS = 2


@dataclass(frozen=True)
class SliceBatch:
    """Slices (b, 1, s, s) in HU / 1000 and their class (b,): 0 normal, 1 abnormal."""

    images: Tensor
    classes: Tensor


def slice_image(plane: Tensor, size: int) -> Tensor:
    """A plane of the encoder input (x, y) as the slice networks take it, (1, size, size)."""
    image: Tensor = F.interpolate(plane[None, None], size=(size, size), mode="bilinear", align_corners=False)
    return image[0]


class SlicePool:
    """Draws slices of a set of thoraces, as many abnormal as normal ones.

    Normal slices come from normal cases and, one in four, from beside a finding, so that "abnormal" is not
    learned from what all slices of an abnormal case share.
    """

    def __init__(self, data: Thoraces, image_size: int) -> None:
        self._data = data
        self._image_size = image_size
        planes = data.target.shape[0]
        self._planes = range(int(planes * _FIRST), int(planes * _LAST))
        abnormal = self._abnormal_planes()
        healthy_case = np.array([not case.findings for case in data.cases])
        inside = np.zeros_like(abnormal)
        inside[:, self._planes.start : self._planes.stop] = True
        self._abnormal = np.argwhere(abnormal & inside)
        self._normal = np.argwhere(inside & healthy_case[:, None])
        self._beside = np.argwhere(inside & ~abnormal & ~healthy_case[:, None] & ~_dilated(abnormal))

    def draw(self, batch: int, rng: np.random.Generator) -> SliceBatch:
        """`batch` slices, alternately normal and abnormal."""
        images, classes = [], []
        for position in range(batch):
            abnormal = position % 2 == 1
            pool = self._abnormal if abnormal else self._normal
            if not abnormal and len(self._beside) and rng.random() < 0.25:
                pool = self._beside
            case, plane = pool[rng.integers(len(pool))]
            images.append(slice_image(self._data.plane(int(case), int(plane)), self._image_size))
            classes.append(int(abnormal))
        return SliceBatch(torch.stack(images), torch.tensor(classes))

    def _abnormal_planes(self) -> npt.NDArray[np.bool_]:
        """(cases, planes): whether a finding shows there."""
        cells = np.zeros((len(self._data), self._data.target.cells[0]), dtype=np.int64)
        for index, case in enumerate(self._data.cases):
            if case.findings:
                cells[index] = (self._data.cell_bits(index) > 0).sum(axis=(1, 2))
        return np.repeat(cells >= _LEAST_CELLS, CELL[0], axis=1)


def _dilated(planes: npt.NDArray[np.bool_], reach: int = 3) -> npt.NDArray[np.bool_]:
    """Planes within `reach` of one that is set."""
    near = planes.copy()
    for step in range(1, reach + 1):
        near[:, step:] |= planes[:, :-step]
        near[:, :-step] |= planes[:, step:]
    return near
