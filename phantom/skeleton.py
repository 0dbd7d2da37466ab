"""Bones: ribs, spine, breast bone, collar bones, shoulder blades."""

from __future__ import annotations

import numpy as np

from phantom.canvas import Canvas
from phantom.capsules import Capsules
from phantom.grid import FloatArray
from phantom.habitus import Habitus

_CORTEX_HU = 620.0
_MARROW_HU = 210.0
_RIB_SLOPE = 0.42  # fall of a rib from back to front, mm a mm
_RIB_PITCH_MM = 23.0
_VERTEBRA_MM = 24.0


def spine_axis(habitus: Habitus, z: FloatArray) -> FloatArray:
    """y of the vertebral bodies' centres: the thoracic spine is hollow to the front."""
    axis: FloatArray = (habitus.cage_depth * 0.62 - 15 * (z / 120) ** 2).astype(np.float32)
    return axis


def paint_ribs(canvas: Canvas, habitus: Habitus) -> None:
    """Ten or so pairs, as bands of the cage's wall that fall to the front and end there in cartilage."""
    wall = habitus.cage_level(canvas.x, canvas.y, canvas.z)
    fall = canvas.z + _RIB_SLOPE * (habitus.cage_depth - canvas.y)
    turns = fall / (_RIB_PITCH_MM * habitus.scale)
    phase = np.abs(turns - np.floor(turns) - 0.5)
    present = (turns > -5.5) & (canvas.z < habitus.top + 18)
    band = (phase < 0.25) & present
    cartilage = canvas.y < -0.62 * habitus.cage_depth
    bone = (wall > 1.05) & (wall < 1.21) & band
    hu = np.where(cartilage, 110, _CORTEX_HU).astype(np.float32)
    canvas.fill(bone, np.broadcast_to(hu, bone.shape))
    canvas.fill((wall > 1.085) & (wall < 1.175) & (phase < 0.16) & present & ~cartilage, _MARROW_HU)


def paint_spine(canvas: Canvas, habitus: Habitus) -> None:
    """Vertebral bodies with discs between them, canal, arches, spinous and transverse processes."""
    middle = habitus.cage_depth * 0.62
    box = canvas.box((-50, middle - 45, -400), (50, middle + 75, 400))
    if box is None:
        return
    x, y, z = box.x, box.y - spine_axis(habitus, box.z), box.z
    phase = z / (_VERTEBRA_MM * habitus.scale)
    phase = np.abs(phase - np.floor(phase) - 0.5)
    disc = phase > 0.39
    processes = phase < 0.3
    width, depth = 16.5 * habitus.scale * (1 + 0.25 * phase), 13.5 * habitus.scale
    body = (x / width) ** 2 + (y / depth) ** 2
    box.fill((x / (width + 9)) ** 2 + ((y - 8) / (depth + 17)) ** 2 < 1, 45)
    arch = (x / 15) ** 2 + ((y - 24) / 13) ** 2
    canal = (x / 10) ** 2 + ((y - 23) / 8.5) ** 2
    box.fill((np.abs(x) < 33 - 0.25 * y) & (np.abs(y - 27 - 0.2 * np.abs(x)) < 4) & processes, 380)
    box.fill((np.abs(x) < 3.2) & (y > 32) & (y < 56) & processes, 420)
    box.fill((arch < 1) & processes, _CORTEX_HU)
    box.fill((canal < 1) & (body > 1), 32)
    box.fill((canal < 1) & (canal > 0.7) & (body > 1), -40)
    box.fill((body < 1) & ~disc, 480)
    box.fill((body < 0.8) & ~disc & (phase < 0.35), 170)
    box.fill((body < 1) & disc, 85)


def paint_front_and_shoulders(canvas: Canvas, habitus: Habitus) -> None:
    """Breast bone, collar bones, shoulder blades."""
    front, top = -habitus.cage_depth - 5, habitus.top
    box = canvas.box((-30, front - 16, -60), (30, front + 60, top - 6))
    if box is not None:
        line = front + 0.28 * np.maximum(box.z - 30, 0)
        width = 14 + 8 / (1 + np.exp(-(box.z - top + 50) / 5))
        level = (box.x / width) ** 4 + ((box.y - line) / 6.5) ** 2
        box.fill(level < 1, 480)
        box.fill(level < 0.6, 160)
    for side in (-1, 1):
        collar = Capsules.path(
            [
                (side * 20, front + 30, top - 14),
                (side * 70, front + 36, top + 4),
                (side * 118, front + 72, top + 14),
                (side * 150, front + 84, top + 16),
            ],
            [6.5, 5.5, 6.0],
        )
        collar.fill(canvas, _CORTEX_HU)
        collar.widened(-2.0).fill(canvas, _MARROW_HU)
        _paint_shoulder_blade(canvas, habitus, side)


def _paint_shoulder_blade(canvas: Canvas, habitus: Habitus, side: int) -> None:
    near, far = sorted((side * 62.0, side * 150.0))
    box = canvas.box((near, -40, -5), (far, habitus.cage_depth + 60, habitus.top + 10))
    if box is None:
        return
    wall = habitus.cage_level(box.x, box.y, np.minimum(box.z, 40))
    lateral = side * box.x
    blade = np.abs(wall - 1.36) < 0.035
    triangle = (lateral > 70) & (lateral < 78 + 0.62 * (box.z + 5)) & (box.y > 8)
    box.fill(blade & triangle, 430)
