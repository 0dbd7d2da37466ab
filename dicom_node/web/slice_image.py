"""One slice as a PNG: windowed, square pixels, the letters of the patient's sides at its edges.

On request with the outlines of where the algorithm looked, drawn as in the key images.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dicom_node.slice_pixels import Slice
from structured_report.slice_drawing import Polygon, draw_outlines

_SMALLEST = 512  # pixels; below it the letters could not be read
_FONT = resources.files("fontpkg_ibm_plex_sans") / "files" / "IBMPlexSans[wdth,wght].ttf"
_GREY = "#ebebeb"  # of the letters: 235 in an image of grey values
_OPPOSITE = {"L": "R", "R": "L", "P": "A", "A": "P", "H": "F", "F": "H"}


@dataclass(frozen=True)
class Window:
    """A CT window in Hounsfield units."""

    centre: float
    width: float


WINDOWS: Mapping[str, Window] = {
    "lung": Window(-600, 1500),
    "mediastinum": Window(40, 400),
    "bone": Window(400, 1800),
}


def slice_png(shown: Slice, window: Window, outlines: Sequence[Polygon] = ()) -> bytes:
    """The slice through a window, by the linear VOI function (PS3.3 C.11.2.1.2.1).

    `outlines` are closed polygons of (column, row) points in the geometry of SCOORD (PS3.3 C.10.5.1.2).
    """
    grey = (shown.hu.astype(np.float32) - (window.centre - 0.5)) / max(window.width - 1.0, 1.0) + 0.5
    image = Image.fromarray(np.rint(np.clip(grey * 255.0, 0, 255)).astype(np.uint8))
    row_mm, column_mm = shown.plane.pixel_spacing_mm
    rows, columns = shown.hu.shape
    step = min(row_mm, column_mm)
    scale = max(1.0, _SMALLEST / (columns * column_mm / step))
    size = round(columns * column_mm / step * scale), round(rows * row_mm / step * scale)
    if size != image.size:
        image = image.resize(size, Image.Resampling.BICUBIC)
    if outlines:
        image = image.convert("RGB")
        draw_outlines(image, outlines, (image.height / rows, image.width / columns))
    _letter_edges(image, shown)
    stream = io.BytesIO()
    image.save(stream, "PNG", compress_level=1)  # a larger file, and a slider that follows the hand
    return stream.getvalue()


def _letter_edges(image: Image.Image, shown: Slice) -> None:
    right, bottom = _letter(shown.plane.orientation[:3]), _letter(shown.plane.orientation[3:])
    width, height = image.size
    unit = width / _SMALLEST
    edges = (
        ((8 * unit, height / 2), _OPPOSITE[right], "lm"),
        ((width - 8 * unit, height / 2), right, "rm"),
        ((width / 2, 6 * unit), _OPPOSITE[bottom], "mt"),
        ((width / 2, height - 6 * unit), bottom, "mb"),
    )
    draw = ImageDraw.Draw(image)
    font = _font(round(22 * unit))
    for point, letter, anchor in edges:
        draw.text(point, letter, _GREY, font, anchor, stroke_width=round(2 * unit), stroke_fill="black")


def _letter(direction: tuple[float, ...]) -> str:
    """The patient's side towards which a direction (LPS) points."""
    axis = max(range(3), key=lambda number: abs(direction[number]))
    return "LPH"[axis] if direction[axis] > 0 else "RAF"[axis]


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.truetype(str(_FONT), size, layout_engine=ImageFont.Layout.BASIC)
    font.set_variation_by_name("SemiBold")
    return font
