"""A CT slice as a picture for the reading room: windowed pixels, and what has to be said around them.

The slice keeps its own pixels, unscaled where it has at least 512 columns of square pixels; notice, names and
numbers stand in strips above and below it, so that they cover no anatomy. Only the letters of the patient's
sides, a scale bar and the ring of a finding lie on the slice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from structured_report.codes import Window

WINDOWS: dict[Window, tuple[float, float]] = {
    "lung": (-600.0, 1500.0),
    "mediastinum": (40.0, 400.0),
}  # centre, width
SMALLEST_WIDTH = 512  # pixels; below it the slice is enlarged, or its lettering could not be read

_FONT = (
    resources.files("fontpkg_ibm_plex_sans") / "files" / "IBMPlexSans[wdth,wght].ttf"
)  # Latin, Greek, Cyrillic

_WHITE, _GREY, _AMBER, _BLACK = (245, 245, 245), (178, 178, 178), (255, 191, 64), (0, 0, 0)
_SUPERSAMPLING = 4  # Pillow draws lines and circles without anti-aliasing

Weight = Literal["Regular", "SemiBold"]


@dataclass(frozen=True)
class Headline:
    """A finding named above the slice: its name, its number at the right edge, and whether it stands out."""

    text: str
    value: str
    emphasised: bool = True


@dataclass(frozen=True)
class SlicePicture:
    """What is drawn.

    Attributes
    ----------
    voxels_hu
        int16 [row, column] in the source image's own pixel grid, Hounsfield units.
    pixel_spacing_mm
        (row, column) spacing, as PixelSpacing.
    window
        Which CT window the slice is shown in.
    edges
        Letter of the patient's side at the `left`, `right`, `top` and `bottom` of the image.
    notice
        Sentence in a strip of its own at the very top; "" for none.
    headlines
        What stands above the slice, in large letters.
    subtitle
        The line between the headlines and the slice: what stands at the left and at the right.
    footer
        Lines below the slice, each as `subtitle`.
    rings
        (row, column) centres of rings, in source pixels; numbered from 1 where there are several.
    """

    voxels_hu: NDArray[np.int16]
    pixel_spacing_mm: tuple[float, float]
    window: Window
    edges: dict[str, str]
    notice: str
    headlines: tuple[Headline, ...]
    subtitle: tuple[str, str]
    footer: tuple[tuple[str, str], ...]
    rings: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class DrawnSlice:
    """The picture: `pixels` uint8 [row, column, RGB].

    `slice_top` is the row at which the slice begins; `scale` (row, column) is drawn pixels per source pixel,
    (1, 1) where the slice is unscaled.
    """

    pixels: NDArray[np.uint8]
    slice_top: int
    scale: tuple[float, float]


def windowed(voxels_hu: NDArray[np.int16], window: Window) -> NDArray[np.uint8]:
    """Hounsfield units as grey values 0 to 255 by the linear VOI function (PS3.3 C.11.2.1.2.1)."""
    centre, width = WINDOWS[window]
    grey = ((voxels_hu.astype(np.float32) - (centre - 0.5)) / (width - 1.0) + 0.5) * 255.0
    shades: NDArray[np.uint8] = np.rint(np.clip(grey, 0.0, 255.0)).astype(np.uint8)
    return shades


def draw_slice(picture: SlicePicture) -> DrawnSlice:
    """The slice with its strips, markers and scale."""
    scale = _scale(picture)
    rows, columns = picture.voxels_hu.shape
    height, width = round(rows * scale[0]), round(columns * scale[1])
    grey = Image.fromarray(windowed(picture.voxels_hu, picture.window))
    if (height, width) != (rows, columns):
        grey = grey.resize((width, height), Image.Resampling.BICUBIC)
    unit = width / SMALLEST_WIDTH  # sizes below are for 512 columns
    head = _head(picture, width, unit)
    foot = _foot(picture, width, unit)
    canvas = Image.new("RGB", (width, head.height + height + foot.height))
    canvas.paste(head, (0, 0))
    canvas.paste(_annotated(grey, picture, scale, unit), (0, head.height))
    canvas.paste(foot, (0, head.height + height))
    return DrawnSlice(np.asarray(canvas), head.height, scale)


def _scale(picture: SlicePicture) -> tuple[float, float]:
    """Drawn pixels per source pixel, by row and by column: square pixels, at least 512 of them across."""
    columns = picture.voxels_hu.shape[1]
    row_mm, column_mm = picture.pixel_spacing_mm
    square = (row_mm / column_mm, 1.0) if row_mm >= column_mm else (1.0, column_mm / row_mm)
    enlarged = int(np.ceil(SMALLEST_WIDTH / (columns * square[1])))
    return square[0] * max(1, enlarged), square[1] * max(1, enlarged)


def _head(picture: SlicePicture, width: int, unit: float) -> Image.Image:
    notice_height = round(28 * unit) if picture.notice else 0
    line, small = round(30 * unit), round(22 * unit)
    height = notice_height + round(4 * unit) + line * len(picture.headlines) + small + round(4 * unit)
    strip = Image.new("RGB", (width, height))
    draw = ImageDraw.Draw(strip)
    if picture.notice:
        draw.rectangle((0, 0, width, notice_height - 1), fill=_AMBER)
        font = _fitting(picture.notice, "SemiBold", 17 * unit, width - 16 * unit)
        draw.text((width / 2, notice_height / 2), picture.notice, _BLACK, font, anchor="mm")
    y = notice_height + 4 * unit + line / 2
    for headline in picture.headlines:
        colour = _AMBER if headline.emphasised else _GREY
        value_font = _font("SemiBold", 22 * unit)
        room = width - 30 * unit - value_font.getlength(headline.value)
        name_font = _fitting(headline.text, "SemiBold", 22 * unit, room)
        draw.text(
            (8 * unit, y), headline.text, _WHITE if headline.emphasised else _GREY, name_font, anchor="lm"
        )
        draw.text((width - 8 * unit, y), headline.value, colour, value_font, anchor="rm")
        y += line
    _small_line(draw, picture.subtitle, y - line / 2 + small / 2, unit)
    return strip


def _foot(picture: SlicePicture, width: int, unit: float) -> Image.Image:
    line = round(21 * unit)
    strip = Image.new("RGB", (width, round(4 * unit) + line * len(picture.footer) + round(4 * unit)))
    draw = ImageDraw.Draw(strip)
    for index, texts in enumerate(picture.footer):
        _small_line(draw, texts, 4 * unit + line * (index + 0.5), unit)
    return strip


def _small_line(draw: ImageDraw.ImageDraw, texts: tuple[str, str], y: float, unit: float) -> None:
    """A line of small letters at the left and at the right edge; the left one gives way."""
    left, right = texts
    right_font = _font("Regular", 16 * unit)
    room = draw.im.size[0] - 30 * unit - right_font.getlength(right)
    draw.text((8 * unit, y), left, _GREY, _fitting(left, "Regular", 16 * unit, room), anchor="lm")
    draw.text((draw.im.size[0] - 8 * unit, y), right, _GREY, right_font, anchor="rm")


def _annotated(
    grey: Image.Image, picture: SlicePicture, scale: tuple[float, float], unit: float
) -> Image.Image:
    image = grey.convert("RGB")
    lines = _Lines(image, unit)
    radius = 22 * unit
    # The middles of source pixels, in drawn coordinates whose integers are pixel centres.
    centres = [
        ((column + 0.5) * scale[1] - 0.5, (row + 0.5) * scale[0] - 0.5) for row, column in picture.rings
    ]
    for x, y in centres:
        lines.ring(x, y, radius)
    _scale_bar(lines, image, picture.pixel_spacing_mm[1] / scale[1], unit)
    lines.draw()
    draw = ImageDraw.Draw(image)
    if len(centres) > 1:
        _ring_numbers(draw, centres, radius, unit)
    width, height = image.size
    for edge, point, where in (
        ("left", (8 * unit, height / 2), "lm"),
        ("right", (width - 8 * unit, height / 2), "rm"),
        ("top", (width / 2, 6 * unit), "mt"),
        ("bottom", (width / 2, height - 6 * unit), "mb"),
    ):
        _outlined(draw, point, picture.edges[edge], where=where, font=_font("SemiBold", 22 * unit))
    return image


def _ring_numbers(
    draw: ImageDraw.ImageDraw, centres: list[tuple[float, float]], radius: float, unit: float
) -> None:
    """A number beside each ring; rings that nearly coincide share a label, "1, 2", or none could be read."""
    marks: dict[tuple[float, float], list[int]] = {}
    for number, centre in enumerate(centres, start=1):
        near = next((mark for mark in marks if math.dist(mark, centre) < radius), centre)
        marks.setdefault(near, []).append(number)
    font = _font("SemiBold", 18 * unit)
    width, _ = draw.im.size
    for (x, y), numbers in marks.items():
        label = ", ".join(map(str, numbers))
        left = min(x + 0.75 * radius, width - font.getlength(label) - 6 * unit)
        bottom = max(y - 0.75 * radius, 22 * unit)
        _outlined(draw, (left, bottom), label, where="lb", font=font)


def _scale_bar(lines: _Lines, image: Image.Image, mm_per_pixel: float, unit: float) -> None:
    """A bar with a tick every centimetre at the lower right, clear of the letter in the middle."""
    width, height = image.size
    room = 0.3 * width * mm_per_pixel / 10.0
    centimetres = next((length for length in (10, 5, 2) if length <= room), 1)
    length = 10.0 * centimetres / mm_per_pixel
    right, y = width - 14 * unit, height - 12 * unit
    lines.line(right - length, y, right, y)
    for index in range(centimetres + 1):
        x = right - length + index * length / centimetres
        lines.line(x, y, x, y - (9 if index in (0, centimetres) else 5) * unit)
    label = f"{centimetres} cm"
    position = (right - length - 6 * unit, y)
    _outlined(ImageDraw.Draw(image), position, label, where="rm", font=_font("SemiBold", 16 * unit))


class _Lines:
    """Anti-aliased lines and rings, each with a dark halo to stand out on bright and on dark tissue."""

    def __init__(self, image: Image.Image, unit: float) -> None:
        size = (image.width * _SUPERSAMPLING, image.height * _SUPERSAMPLING)
        self._image, self._unit = image, unit
        self._layers = {name: Image.new("L", size) for name in ("halo", "white", "amber")}

    def line(self, x0: float, y0: float, x1: float, y1: float) -> None:
        """A white line between two points, in pixels of the image."""
        ends = [(value + 0.5) * _SUPERSAMPLING for value in (x0, y0, x1, y1)]
        for name, width in (("halo", 3.5), ("white", 1.5)):
            thickness = round(width * self._unit * _SUPERSAMPLING)
            ImageDraw.Draw(self._layers[name]).line(ends, fill=255, width=thickness)

    def ring(self, x: float, y: float, radius: float) -> None:
        """An amber ring around a point, in pixels of the image; its inside stays as it is."""
        centre_x, centre_y = (x + 0.5) * _SUPERSAMPLING, (y + 0.5) * _SUPERSAMPLING
        for name, width in (("halo", 4.0), ("amber", 2.0)):
            outer = (radius + width * self._unit / 2) * _SUPERSAMPLING
            box = (centre_x - outer, centre_y - outer, centre_x + outer, centre_y + outer)
            thickness = round(width * self._unit * _SUPERSAMPLING)
            ImageDraw.Draw(self._layers[name]).ellipse(box, outline=255, width=thickness)

    def draw(self) -> None:
        """Put what was drawn onto the image."""
        for name, colour in (("halo", _BLACK), ("white", _WHITE), ("amber", _AMBER)):
            mask = self._layers[name].resize(self._image.size, Image.Resampling.BOX)
            self._image.paste(colour, (0, 0), mask)


def _outlined(
    draw: ImageDraw.ImageDraw,
    point: tuple[float, float],
    text: str,
    *,
    where: str,
    font: ImageFont.FreeTypeFont,
) -> None:
    draw.text(
        point, text, _WHITE, font, where, stroke_width=max(1, round(font.size / 14)), stroke_fill=_BLACK
    )


def _fitting(text: str, weight: Weight, size: float, room: float) -> ImageFont.FreeTypeFont:
    """The font at `size`, or so much smaller that `text` is no wider than `room` pixels."""
    font = _font(weight, size)
    while font.getlength(text) > room and size > 1.0:  # hinted widths do not follow the size exactly
        size = min(size - 0.5, size * room / font.getlength(text))
        font = _font(weight, max(size, 1.0))
    return font


@cache
def _font(weight: Weight, size: float) -> ImageFont.FreeTypeFont:
    # The basic layout engine: the other is an optional library, and draws other pixels where it is found.
    font = ImageFont.truetype(str(_FONT), size, layout_engine=ImageFont.Layout.BASIC)
    font.set_variation_by_name(weight)
    return font
