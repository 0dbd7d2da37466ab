"""Smooth random fields over the world: the same value at the same point, whatever the grid that asks."""

from __future__ import annotations

import numpy as np

from phantom.canvas import Canvas
from phantom.grid import FloatArray

_REACH_MM = 240.0
# Mean square of the cubic B-spline's weights, per axis: what the spline leaves of the coefficients' variance.
_VARIANCE_PER_AXIS = 151 / 315


class RandomField:
    """Gaussian field of zero mean and unit variance: cubic B-spline over a lattice of normal coefficients.

    Parameters
    ----------
    rng
        Where the coefficients come from.
    scale_mm
        Distance of the lattice's nodes, (x, y, z); structures of the field are about two nodes wide.
    """

    def __init__(self, rng: np.random.Generator, scale_mm: tuple[float, float, float]) -> None:
        self._scale_mm = scale_mm
        x, y, z = (int(2 * _REACH_MM / scale) + 4 for scale in scale_mm)
        coefficients = rng.standard_normal((z, y, x), dtype=np.float32)
        self._coefficients = coefficients * np.float32(_VARIANCE_PER_AXIS**-1.5)

    def on(self, canvas: Canvas) -> FloatArray:
        """Values at the canvas's points, float32 (Z, Y, X); axis by axis, three thin products."""
        nodes = self._coefficients.shape
        along_z, z = _spline(canvas.z.ravel(), self._scale_mm[2], nodes[0])
        along_y, y = _spline(canvas.y.ravel(), self._scale_mm[1], nodes[1])
        along_x, x = _spline(canvas.x.ravel(), self._scale_mm[0], nodes[2])
        field = np.tensordot(along_z, self._coefficients[z, y, x], axes=1)
        field = np.matmul(along_y, field)
        # One large product, not one a slice: threads of the linear algebra would cost more than they bring.
        values: FloatArray = field.reshape(-1, field.shape[2]) @ along_x.T
        return values.reshape(canvas.hu.shape)


def _spline(positions_mm: FloatArray, scale_mm: float, nodes: int) -> tuple[FloatArray, slice]:
    """Weights (positions, used nodes) of the cubic B-spline, and which nodes those are."""
    at = np.clip((positions_mm + _REACH_MM) / scale_mm, 1, nodes - 2.001)
    used = slice(int(at.min()) - 1, int(at.max()) + 3)
    distance = np.abs(at[:, None] - np.arange(used.start, used.stop, dtype=np.float32)[None, :])
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = np.clip(2 - distance, 0, None) ** 3 / 6
    return np.where(distance < 1, near, far).astype(np.float32), used
