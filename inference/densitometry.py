"""Lung volumes and densities: the `densitometry` member, which needs no network.

Every value is counted from the original voxels of both lungs together, but for the two volumes by side. The
mask comes from the coarse grid of `lungs`: inside of it, one coarse voxel from its border, all voxels count,
vessels, small bronchi and nodules too; on the border those below -400 HU do, half way between lung and soft
tissue. Trachea and main bronchi do not count, nor does what has no air at the lung's edge (effusion, a tumour
or consolidation that reaches the pleura). The gas of a pneumothorax counts as lung: by its density it is not
told from a bulla. No voxel is left out for being too light or too dense, and nothing is corrected for
breath, dose, kernel or the scanner's calibration of air: compare values of one protocol only.

`docs/lungs.md` says what the numbers mean beside those of other programs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from inference.lungs import AIR_BELOW_HU, Lungs
from inference.morphology import Mask, dilated, eroded
from inference.study_result import Measurement
from inference.volume import CTVolume

_LOWEST_HU, _HIGHEST_HU = -1100, 3071
"""Range of the histogram; what lies beyond counts as its end."""

_OUTSIDE, _WITHIN = np.iinfo(np.int16).min, np.iinfo(np.int16).max
_HOUNSFIELD, _MILLILITRE, _PERCENT = "[hnsf'U]", "mL", "%"
_NOISE = "A sharp kernel, a low dose and thin slices raise it"
_VOLUME = (
    "Volume of the lungs' voxels at the breath of the scan, vessels included, trachea and main bronchi not"
    " (by threshold: Hu et al., IEEE Trans Med Imaging 20, 2001)."
)


@dataclass(frozen=True)
class Densitometry:
    """What was measured.

    Attributes
    ----------
    columns
        Value by its name in a fusion model, without the member's name in front.
    measurements
        The same values with their UCUM units and definitions, in the same order.
    """

    columns: dict[str, float]
    measurements: tuple[Measurement, ...]


COLUMNS = (
    "lung_volume_ml",
    "left_lung_volume_ml",
    "right_lung_volume_ml",
    "mean_lung_density_hu",
    "laa_950_percent",
    "laa_910_percent",
    "haa_percent",
    "perc15_hu",
)


def densitometry(volume: CTVolume, lungs: Lungs) -> Densitometry:
    """Measure the lungs of a volume, to two decimals; with or without contrast, at any breath."""
    histograms = _histograms(volume, lungs)
    voxel_ml = abs(float(np.linalg.det(volume.affine[:3, :3]))) / 1000
    measurements = tuple(
        replace(measured, value=round(measured.value, 2)) for measured in _measured(histograms, voxel_ml)
    )
    values = (measurement.value for measurement in measurements)
    return Densitometry(dict(zip(COLUMNS, values, strict=True)), measurements)


def lung_mask(volume: CTVolume, lungs: Lungs) -> tuple[Mask, Mask]:
    """The voxels that count as left and as right lung, boolean in the volume's own shape."""
    left, right = np.zeros((2, *volume.voxels_hu.shape), dtype=bool)
    for slab in _slabs(volume, lungs):
        chosen = volume.voxels_hu[slab.place] < slab.below_hu
        left[slab.place], right[slab.place] = chosen & ~slab.right, chosen & slab.right
    return left, right


def _measured(histograms: NDArray[np.int64], voxel_ml: float) -> Iterator[Measurement]:
    """Every measurement, in the order of `COLUMNS`."""
    left_ml, right_ml = (float(side.sum()) * voxel_ml for side in histograms)
    hu, counts = np.arange(_LOWEST_HU, _HIGHEST_HU + 1), histograms.sum(axis=0)
    yield Measurement("Lung volume", left_ml + right_ml, _MILLILITRE, _VOLUME)
    yield Measurement("Lung volume, left", left_ml, _MILLILITRE, _VOLUME)
    yield Measurement("Lung volume, right", right_ml, _MILLILITRE, _VOLUME)
    mean_hu = float((hu * counts).sum() / counts.sum())
    yield Measurement(
        "Mean lung density", mean_hu, _HOUNSFIELD,
        "Mean of the lungs' voxels (Mascalchi et al., J Thorac Dis 9, 2017).",
    )  # fmt: skip
    yield Measurement(
        "LAA-950", _percent(counts, hu < -950), _PERCENT,
        f"Share of the lungs' voxels below -950 HU (Gevenois et al., AJRCCM 152, 1995). {_NOISE}.",
    )  # fmt: skip
    yield Measurement(
        "LAA-910", _percent(counts, hu < -910), _PERCENT,
        f"Share of the lungs' voxels below -910 HU (Mueller et al., Chest 94, 1988). {_NOISE}.",
    )  # fmt: skip
    yield Measurement(
        "HAA", _percent(counts, (hu >= -600) & (hu <= -250)), _PERCENT,
        "Share of the lungs' voxels from -600 to -250 HU, both included (limits: Lederer et al., AJRCCM 180,"
        " 2009; as a share: Podolanczuk et al., Eur Respir J 48, 2016). Vessels' edges count.",
    )  # fmt: skip
    perc15_hu = float(hu[np.searchsorted(np.cumsum(counts), 0.15 * counts.sum())])
    yield Measurement(
        "Perc15", perc15_hu, _HOUNSFIELD,
        "15th percentile of the lungs' voxels: the least HU that 15 % of them do not exceed (Dirksen et al.,"
        " AJRCCM 160, 1999); add 1000 for g/L.",
    )  # fmt: skip


def _percent(counts: NDArray[np.int64], chosen: NDArray[np.bool_]) -> float:
    return 100 * float(counts[chosen].sum()) / float(counts.sum())


@dataclass(frozen=True)
class _Slab:
    """The slices of the CT that one coarse slice covers, cut to the box of its lungs.

    `place` says where they lie in the CT. On their pixels [row, column]: `below_hu`, the HU below which a
    voxel counts, and whether it then counts to the `right` lung.
    """

    place: tuple[slice, slice, slice]
    below_hu: NDArray[np.int16]
    right: NDArray[np.bool_]


def _histograms(volume: CTVolume, lungs: Lungs) -> NDArray[np.int64]:
    """Voxels of the left and of the right lung at each whole HU from `_LOWEST_HU` on, [side, HU]."""
    bins = _HIGHEST_HU - _LOWEST_HU + 1
    counts = np.zeros(2 * bins, dtype=np.int64)
    for slab in _slabs(volume, lungs):
        for hu in volume.voxels_hu[slab.place]:
            chosen = hu < slab.below_hu
            places = np.rint(np.clip(hu[chosen], _LOWEST_HU, _HIGHEST_HU)).astype(np.intp) - _LOWEST_HU
            counts += np.bincount(places + bins * slab.right[chosen], minlength=2 * bins)
    return counts.reshape(2, bins)


def _slabs(volume: CTVolume, lungs: Lungs) -> Iterator[_Slab]:
    """A slab for each coarse slice that meets the lungs."""
    both = lungs.left | lungs.right
    border, core = dilated(both), eroded(both, beyond=True)
    # Where the border of one lung lies in the other lung it is the other's.
    right = dilated(lungs.right) & ~lungs.left
    below_hu = np.where(core, np.int16(_WITHIN), np.int16(_OUTSIDE))
    below_hu[border & ~core] = AIR_BELOW_HU
    along, down, across = lungs.factors
    for index in np.flatnonzero(border.any(axis=(1, 2))):
        on_rows, on_columns = (np.flatnonzero(border[index].any(axis=axis)) for axis in (1, 0))
        rows = slice(on_rows[0], on_rows[-1] + 1)
        columns = slice(on_columns[0], on_columns[-1] + 1)
        yield _Slab(
            (
                slice(index * along, (index + 1) * along),
                slice(rows.start * down, rows.stop * down),
                slice(columns.start * across, columns.stop * across),
            ),
            below_hu[index, rows, columns].repeat(down, axis=0).repeat(across, axis=1),
            right[index, rows, columns].repeat(down, axis=0).repeat(across, axis=1),
        )
