"""A CT slice as a picture for the reading room: windowed pixels, and what has to be said around them.

The slice keeps its own pixels, unscaled where it has at least 512 columns of square pixels; notice, names and
numbers stand in strips above and below it, so that they cover no anatomy. Only the letters of the patient's
sides, a scale bar, and the algorithm's attention (a transparent colour and its outline) lie on the slice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from structured_report.codes import Window
from structured_report.lettering import AMBER, BLACK, GREY, WHITE, fitting, font_of, outlined
from structured_report.line_drawing import Lines

WINDOWS: dict[Window, tuple[float, float]] = {
    "lung": (-600.0, 1500.0),
    "mediastinum": (40.0, 400.0),
}  # centre, width
SMALLEST_WIDTH = 512  # pixels; below it the slice is enlarged, or its lettering could not be read

_STRONGEST_GLOW = 0.4  # of the colour; the anatomy below must stay legible

Polygon = tuple[tuple[float, float], ...]


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
    outlines
        Closed polygons of (column, row) points in the geometry of SCOORD (PS3.3 C.10.5.1.2: the centre of the
        first pixel is (0.5, 0.5)); numbered from 1 where there are several.
    glow
        float32 [row, column], 0 to 1: how strongly a source pixel is coloured; None for no colour.
    scale_label
        What stands beside the scale bar; `{length}` is put in.
    """

    voxels_hu: NDArray[np.int16]
    pixel_spacing_mm: tuple[float, float]
    window: Window
    edges: dict[str, str]
    notice: str
    headlines: tuple[Headline, ...]
    subtitle: tuple[str, str]
    footer: tuple[tuple[str, str], ...]
    outlines: tuple[Polygon, ...] = ()
    glow: NDArray[np.float32] | None = None
    scale_label: str = "{length} cm"


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


def draw_outlines(image: Image.Image, outlines: Sequence[Polygon], scale: tuple[float, float]) -> None:
    """Draw outlines, as those of `SlicePicture`, on a slice (RGB) of `scale` drawn pixels per source one."""
    unit = image.width / SMALLEST_WIDTH
    lines = Lines(image, unit)
    drawn = _drawn(outlines, scale)
    for outline in drawn:
        lines.outline(outline)
    lines.draw()
    if len(drawn) > 1:
        _numbers(ImageDraw.Draw(image), drawn, unit)


def _drawn(outlines: Sequence[Polygon], scale: tuple[float, float]) -> list[list[tuple[float, float]]]:
    """In drawn coordinates (x, y), whose integers are pixel centres."""
    return [
        [(column * scale[1] - 0.5, row * scale[0] - 0.5) for column, row in outline] for outline in outlines
    ]


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
        draw.rectangle((0, 0, width, notice_height - 1), fill=AMBER)
        font = fitting(picture.notice, "SemiBold", 17 * unit, width - 16 * unit)
        draw.text((width / 2, notice_height / 2), picture.notice, BLACK, font, anchor="mm")
    y = notice_height + 4 * unit + line / 2
    for headline in picture.headlines:
        colour = AMBER if headline.emphasised else GREY
        value_font = font_of("SemiBold", 22 * unit)
        room = width - 30 * unit - value_font.getlength(headline.value)
        name_font = fitting(headline.text, "SemiBold", 22 * unit, room)
        draw.text(
            (8 * unit, y), headline.text, WHITE if headline.emphasised else GREY, name_font, anchor="lm"
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
    right_font = font_of("Regular", 16 * unit)
    room = draw.im.size[0] - 30 * unit - right_font.getlength(right)
    draw.text((8 * unit, y), left, GREY, fitting(left, "Regular", 16 * unit, room), anchor="lm")
    draw.text((draw.im.size[0] - 8 * unit, y), right, GREY, right_font, anchor="rm")


def _annotated(
    grey: Image.Image, picture: SlicePicture, scale: tuple[float, float], unit: float
) -> Image.Image:
    image = _glowing(grey.convert("RGB"), picture)
    lines = Lines(image, unit)
    outlines = _drawn(picture.outlines, scale)
    for outline in outlines:
        lines.outline(outline)
    _scale_bar(lines, image, picture.pixel_spacing_mm[1] / scale[1], unit, picture.scale_label)
    lines.draw()
    draw = ImageDraw.Draw(image)
    if len(outlines) > 1:
        _numbers(draw, outlines, unit)
    width, height = image.size
    for edge, point, where in (
        ("left", (8 * unit, height / 2), "lm"),
        ("right", (width - 8 * unit, height / 2), "rm"),
        ("top", (width / 2, 6 * unit), "mt"),
        ("bottom", (width / 2, height - 6 * unit), "mb"),
    ):
        outlined(draw, point, picture.edges[edge], where=where, font=font_of("SemiBold", 22 * unit))
    return image


def _glowing(image: Image.Image, picture: SlicePicture) -> Image.Image:
    """The slice with its transparent colour."""
    if picture.glow is None:
        return image
    strength = np.rint(np.clip(picture.glow, 0, 1) * (255 * _STRONGEST_GLOW)).astype(np.uint8)
    mask = Image.fromarray(strength)
    if mask.size != image.size:
        mask = mask.resize(image.size, Image.Resampling.BICUBIC)
    image.paste(AMBER, (0, 0), mask)
    return image


def _numbers(draw: ImageDraw.ImageDraw, outlines: list[list[tuple[float, float]]], unit: float) -> None:
    """A number beside each outline; those at nearly one place share a label, or none could be read."""
    size = (float(draw.im.size[0]), float(draw.im.size[1]))
    marks: dict[tuple[float, float], list[int]] = {}
    for number, outline in enumerate(outlines, start=1):
        corner = _corner(outline, size, unit)
        near = next((mark for mark in marks if math.dist(mark, corner) < 22 * unit), corner)
        marks.setdefault(near, []).append(number)
    font = font_of("SemiBold", 18 * unit)
    for (x, y), numbers in marks.items():
        label = ", ".join(map(str, numbers))
        left = min(x + 4 * unit, size[0] - font.getlength(label) - 6 * unit)
        outlined(draw, (left, max(y - 4 * unit, 22 * unit)), label, where="lb", font=font)


def _corner(
    outline: list[tuple[float, float]], size: tuple[float, float], unit: float
) -> tuple[float, float]:
    """The point of an outline for its number: the upper right one clear of letters, scale and edges."""
    width, height = size
    letters = ((0.0, height / 2), (width, height / 2), (width / 2, 0.0), (width / 2, height))

    def clear(point: tuple[float, float]) -> bool:
        x, y = point
        on_scale = x > 0.55 * width and y > height - 44 * unit
        at_edge = x > width - 40 * unit or y < 26 * unit
        return not on_scale and not at_edge and all(math.dist(point, mark) > 44 * unit for mark in letters)

    return max(outline, key=lambda point: (clear(point), point[0] - point[1]))


def _scale_bar(lines: Lines, image: Image.Image, mm_per_pixel: float, unit: float, scale_label: str) -> None:
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
    label = scale_label.format(length=centimetres)
    position = (right - length - 6 * unit, y)
    outlined(ImageDraw.Draw(image), position, label, where="rm", font=font_of("SemiBold", 16 * unit))
