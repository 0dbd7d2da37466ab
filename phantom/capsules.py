"""Round-ended cylinders: vessels, bronchi, collar bones; painted by the hundred."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from phantom.canvas import BoolArray, Canvas, Point
from phantom.grid import FloatArray


@dataclass(frozen=True)
class Capsules:
    """n segments; `start`, `end` (n, 3) as x, y, z in mm, `radius` (n,) in mm."""

    start: FloatArray
    end: FloatArray
    radius: FloatArray

    @staticmethod
    def path(points: list[Point], radii: list[float]) -> Capsules:
        """A chain through `points`; one radius for each stretch between two of them."""
        at = np.asarray(points, dtype=np.float32)
        return Capsules(at[:-1], at[1:], np.asarray(radii, dtype=np.float32))

    def widened(self, by_mm: float) -> Capsules:
        """The same axes with every radius larger (or smaller) by `by_mm`."""
        return Capsules(self.start, self.end, self.radius + np.float32(by_mm))

    def fill(self, canvas: Canvas, hu: float, label: int = 0) -> None:
        """Paint the inside."""
        for box, distance, radius in self._distances(canvas, 0.0):
            box.fill(distance < radius, hu, label)

    def fill_within(self, canvas: Canvas, mask: BoolArray, hu: float) -> None:
        """Paint the inside where the mask, of the canvas's own shape, allows it."""
        inside = Canvas(canvas.x, canvas.y, canvas.z, np.zeros(canvas.hu.shape, dtype=np.float32))
        self.fill(inside, 1.0)
        canvas.fill(mask & (inside.hu > 0), hu)

    def brighten(self, canvas: Canvas, hu: float, edge_mm: float = 1.0) -> None:
        """Raise the inside to `hu` where it is darker; the edge is `edge_mm` wide (partial volume)."""
        for box, distance, radius in self._distances(canvas, edge_mm / 2):
            share = np.clip((radius - distance) / edge_mm + 0.5, 0, 1)
            np.maximum(box.hu, share * (hu + 1000) - 1000, out=box.hu)

    def _distances(self, canvas: Canvas, margin_mm: float) -> Iterator[tuple[Canvas, FloatArray, np.float32]]:
        """For every segment that touches the canvas: its box, the distance to its axis there, its radius."""
        reach = self.radius[:, None] + margin_mm
        low, high = np.minimum(self.start, self.end) - reach, np.maximum(self.start, self.end) + reach
        cuts = [
            np.stack([np.searchsorted(axis.ravel(), low[:, i]), np.searchsorted(axis.ravel(), high[:, i])])
            for i, axis in enumerate((canvas.x, canvas.y, canvas.z))
        ]
        hit = np.flatnonzero(np.logical_and.reduce([cut[0] < cut[1] for cut in cuts]))
        along = self.end - self.start
        length = np.maximum(np.linalg.norm(along, axis=1), 1e-3)
        along = along / length[:, None]
        for i in hit:
            x, y, z = (slice(int(cut[0, i]), int(cut[1, i])) for cut in cuts)
            labels = None if canvas.labels is None else canvas.labels[z, y, x]
            box = Canvas(canvas.x[:, :, x], canvas.y[:, y], canvas.z[z], canvas.hu[z, y, x], labels)
            dx, dy, dz = (
                axis - origin for axis, origin in zip((box.x, box.y, box.z), self.start[i], strict=True)
            )
            ux, uy, uz = along[i]
            # |d - t u|^2 = |d|^2 + t (t - 2 d.u): sums of one-axis terms, cheap to broadcast.
            projection = (dx * ux + dy * uy) + dz * uz
            t = np.clip(projection, 0, length[i])
            square = (dx * dx + dy * dy) + dz * dz + t * (t - 2 * projection)
            yield box, np.sqrt(np.maximum(square, 0)), self.radius[i]
