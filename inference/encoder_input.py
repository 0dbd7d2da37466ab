"""The published networks' own preparation: HU volume to encoder input, made once and shared by all members.

HU are held within [-1000, 1000], resampled trilinearly (align_corners False, no antialiasing), divided by
1000, and cropped or padded with -1 about the centre. The tensor's axes are (z, x, y): its planes are
transposed against DICOM's rows and columns, as those that the networks were trained on.

In one case the crop is not the published one: where it would cut the lungs, as in a scan of the whole trunk,
it is taken around them, with a warning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from inference.errors import RefusalCode, VolumeRefusal
from inference.lung_crop import Crop, around_lungs
from inference.lungs import Lungs
from inference.upright import UprightVolume, upright
from inference.volume import CTVolume
from models.manifest import InputSpec

HU_LIMIT = 1000
SLICE_RANGE = (0.05, 0.95)
"""Share of the planes, from the feet, that the slice networks look at."""

Number = TypeVar("Number", int, float)

_BLOCK = 16  # planes resampled at a time: bounded memory, long enough for the threads


@dataclass(frozen=True)
class EncoderInput:
    """The prepared volume and the way back from it.

    Attributes
    ----------
    tensor
        float32 (z, x, y), HU / 1000 in [-1, 1].
    to_source
        4 x 4: (z, x, y) indices of the tensor to (slice, row, column) indices of the CT volume. Indices are
        of voxel centres and may lie outside the volume where the tensor is padded.
    planes
        The tensor's planes [first, last) that come from the CT and not from padding.
    warnings
        A sentence for each axis along which the crop was taken around the lungs.
    """

    tensor: Tensor
    to_source: NDArray[np.float64]
    planes: tuple[int, int]
    warnings: tuple[str, ...] = ()

    def source_index(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """(slice, row, column) in the CT volume of points (..., 3) given as (z, x, y) in the tensor."""
        return points @ self.to_source[:3, :3].T + self.to_source[:3, 3]


def encoder_input(volume: CTVolume, spec: InputSpec, lungs: Lungs | None = None) -> EncoderInput:
    """Prepare a volume for the networks of a bundle.

    Parameters
    ----------
    volume
        The CT.
    spec
        Spacing and shape that the networks were trained on.
    lungs
        Those of the volume, which the crop must not cut; None for the published crop in any case.

    Raises
    ------
    VolumeRefusal
        `too_few_slices` if fewer than `spec.minimum_slices` planes remain after resampling.
    """
    source = upright(volume)
    axes = [
        _Axis.between(n, spacing, target, size)
        for n, spacing, target, size in zip(
            source.voxels_hu.shape, source.spacing_mm, _zyx(spec.spacing_mm), _zyx(spec.shape), strict=True
        )
    ]
    if axes[0].resampled < spec.minimum_slices:
        raise VolumeRefusal(
            RefusalCode.TOO_FEW_SLICES,
            f"The series covers {axes[0].resampled} planes of {spec.spacing_mm[0]:g} mm; at least"
            f" {spec.minimum_slices} are needed.",
        )
    warnings: tuple[str, ...] = ()
    if lungs is not None:
        axes, warnings = around_lungs(axes, lungs, source)
    tensor = torch.full(spec.shape, -1.0)
    _fill(tensor, source, axes)
    first = axes[0].before
    return EncoderInput(tensor, _way_back(source, axes), (first, first + axes[0].kept), warnings)


def resampled_length(voxels: int, spacing_mm: float, target_mm: float) -> int:
    """Voxels along an axis after resampling, in float32 throughout: the original's arithmetic."""
    return max(int(np.float32(voxels) * (np.float32(spacing_mm) / np.float32(target_mm))), 1)


def slice_planes(planes: int) -> range:
    """The planes of the encoder input that the slice networks look at: 216 of 240."""
    return range(int(SLICE_RANGE[0] * planes), int(SLICE_RANGE[1] * planes))


def reconstruction_planes(planes: int, count: int) -> list[int]:
    """The `count` planes that are reconstructed, evenly over `slice_planes`, in the original's way."""
    looked_at = slice_planes(planes)
    return [int(plane) for plane in np.linspace(looked_at[0], looked_at[-1], count)]


def slice_images(tensor: Tensor, image_size: int, planes: range | list[int] | None = None) -> Tensor:
    """Planes of the encoder input as square slices (n, 1, s, s), bilinear; by default `slice_planes`."""
    chosen = tensor[list(slice_planes(len(tensor)) if planes is None else planes)]
    return F.interpolate(chosen[:, None], size=(image_size, image_size), mode="bilinear", align_corners=False)


@dataclass(frozen=True)
class _Axis(Crop):
    """Resampling and cropping along one axis; `before` is the padding in front of the first used voxel."""

    before: int

    @classmethod
    def between(cls, n: int, spacing_mm: float, target_mm: float, size: int) -> _Axis:
        resampled = resampled_length(n, spacing_mm, target_mm)
        return cls(
            n=n,
            resampled=resampled,
            start=max(resampled - size, 0) // 2,
            kept=min(resampled, size),
            before=max(size - resampled, 0) // 2,
        )

    @property
    def used(self) -> slice:
        return slice(self.start, self.start + self.kept)

    @property
    def filled(self) -> slice:
        return slice(self.before, self.before + self.kept)

    def back(self) -> tuple[float, float]:
        """Factor and offset from an index of the tensor to an index of the source."""
        factor = self.n / self.resampled
        return factor, factor * (self.start - self.before + 0.5) - 0.5

    def neighbours(self) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
        """Lower and upper source index of every used voxel, and the upper one's weight, in float32."""
        factor = np.float32(self.n / self.resampled)
        places = factor * (np.arange(self.resampled, dtype=np.float32)[self.used] + np.float32(0.5))
        places = np.maximum(places - np.float32(0.5), np.float32(0))
        lower = np.minimum(places.astype(np.intp), self.n - 1)
        weight = np.clip(places - lower.astype(np.float32), 0, 1).astype(np.float32)
        return lower, np.minimum(lower + 1, self.n - 1), weight


def _zyx(values: tuple[Number, Number, Number]) -> tuple[Number, Number, Number]:
    """The tensor's order (z, x, y) to an upright volume's (z, y, x), or back."""
    return values[0], values[2], values[1]


def _fill(tensor: Tensor, source: UprightVolume, axes: list[_Axis]) -> None:
    """Resample what is not cropped away into `tensor` (z, x, y)."""
    z, y, x = axes
    target = tensor[z.filled, x.filled, y.filled]
    lower, upper, weights = z.neighbours()
    for start in range(0, z.kept, _BLOCK):
        block = slice(start, min(start + _BLOCK, z.kept))
        first, last = int(lower[block][0]), int(upper[block][-1])
        slices = _unit_slices(source, first, last + 1)
        weight = torch.from_numpy(weights[block])[:, None, None]
        planes = torch.lerp(slices[lower[block] - first], slices[upper[block] - first], weight)
        planes = F.interpolate(
            planes[:, None], size=(y.resampled, x.resampled), mode="bilinear", align_corners=False
        )[:, 0, y.used, x.used]
        target[block] = planes.transpose(1, 2)


def _unit_slices(source: UprightVolume, first: int, end: int) -> Tensor:
    """Slices [first, end) as float32 HU / 1000 within [-1, 1]."""
    values = np.clip(source.voxels_hu[first:end], -HU_LIMIT, HU_LIMIT).astype(np.float32)
    return torch.from_numpy(np.ascontiguousarray(values)) / HU_LIMIT


def _way_back(source: UprightVolume, axes: list[_Axis]) -> NDArray[np.float64]:
    """(z, x, y) of the tensor -> (z, y, x) of the upright volume -> (slice, row, column) of the CT."""
    back = np.eye(4)[[0, 2, 1, 3]]
    for row, axis in enumerate(axes):
        factor, offset = axis.back()
        back[row] *= factor
        back[row, 3] = offset
    return source.to_source @ back
