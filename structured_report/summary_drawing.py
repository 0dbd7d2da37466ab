"""One page with everything: the answer, a bar for each finding, a coronal overview, measurements.

1024 pixels wide, with letters that can be read when a viewer shows it at half of that.
"""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import wrap

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from structured_report.lettering import AMBER, BLACK, GREY, WHITE, Weight, fitting, font_of, outlined
from structured_report.slice_drawing import windowed

WIDTH = 1024
ROWS_A_PAGE = 24
_MARGIN, _GAP = 20, 28
_ROW, _LINE = 36, 34
_LEFT = 640  # where the column of bars ends
_BAR = (368, 538)  # x of the bars' ends
_TRACK = (64, 64, 64)
_SMALLEST_FACT, _SMALLEST_NAME = 19, 17  # pixels of letters; at half of that they can still be read


@dataclass(frozen=True)
class Bar:
    """A finding: name, probability and operating point (0 to 1), its number as text."""

    name: str
    probability: float
    operating_point: float
    text: str
    present: bool


@dataclass(frozen=True)
class Overview:
    """A coronal plane of the CT for orientation.

    Attributes
    ----------
    hu
        int16 [row, column] in HU: rows from the head down, columns from the patient's right to the left.
    spacing_mm
        Distance of rows and of columns.
    marks
        (row, label) of the key slices.
    """

    hu: NDArray[np.int16]
    spacing_mm: tuple[float, float]
    marks: tuple[tuple[int, str], ...]


@dataclass(frozen=True)
class SummaryPicture:
    """What is drawn.

    `title` and `headline` stand at the top, `headline` with `value` in large letters; `lines` below them are
    small. `sides` are the letters of the patient's right and left. `facts` (name, value) stand below the
    overview, `footer` at the bottom.
    """

    notice: str
    title: str
    headline: str
    value: str
    emphasised: bool
    lines: tuple[str, ...]
    bars: tuple[Bar, ...]
    overview: Overview | None
    sides: tuple[str, str]
    facts: tuple[tuple[str, str], ...]
    footer: tuple[str, ...]


def draw_summary(picture: SummaryPicture) -> NDArray[np.uint8]:
    """The page, uint8 [row, column, RGB]."""
    head = _head(picture)
    body = _beside(_bars(picture), _right(picture))
    foot = _lines(picture.footer)
    page = Image.new("RGB", (WIDTH, head.height + body.height + foot.height + _MARGIN))
    page.paste(head, (0, 0))
    page.paste(body, (0, head.height))
    page.paste(foot, (0, head.height + body.height + _MARGIN // 2))
    return np.asarray(page)


def _head(picture: SummaryPicture) -> Image.Image:
    notice = 44 if picture.notice else 0
    lines = _lines(picture.lines)
    image = Image.new("RGB", (WIDTH, notice + 38 + 56 + lines.height + 12))
    draw = ImageDraw.Draw(image)
    if picture.notice:
        draw.rectangle((0, 0, WIDTH, notice - 1), fill=AMBER)
        _text(draw, (WIDTH / 2, notice / 2), picture.notice, 28, BLACK, where="mm", weight="SemiBold")
    _text(draw, (_MARGIN, notice + 24), picture.title, 24, GREY, room=WIDTH - 2 * _MARGIN)
    y = notice + 38 + 30
    value = font_of("SemiBold", 44)
    room = WIDTH - 3 * _MARGIN - value.getlength(picture.value)
    name = WHITE if picture.emphasised else GREY
    _text(draw, (_MARGIN, y), picture.headline, 44, name, weight="SemiBold", room=room)
    colour = AMBER if picture.emphasised else GREY
    draw.text((WIDTH - _MARGIN, y), picture.value, colour, value, anchor="rm")
    image.paste(lines, (0, notice + 38 + 56))
    return image


def _bars(picture: SummaryPicture) -> Image.Image:
    image = Image.new("RGB", (_LEFT, max(1, len(picture.bars)) * _ROW))
    draw = ImageDraw.Draw(image)
    left, right = _BAR
    for index, bar in enumerate(picture.bars):
        y = index * _ROW + _ROW / 2
        colour = AMBER if bar.present else GREY
        weight: Weight = "SemiBold" if bar.present else "Regular"
        name = WHITE if bar.present else GREY
        _name(draw, y, bar.name, colour=name, weight=weight)
        draw.rectangle((left, y - 8, right, y + 8), fill=_TRACK)
        end = left + (right - left) * min(max(bar.probability, 0.0), 1.0)
        draw.rectangle((left, y - 8, end, y + 8), fill=colour)
        point = left + (right - left) * min(max(bar.operating_point, 0.0), 1.0)
        draw.rectangle((point - 2, y - 13, point + 1, y + 13), fill=BLACK)
        draw.rectangle((point - 1, y - 13, point, y + 13), fill=WHITE)
        _text(draw, (_LEFT - 8, y), bar.text, 25, colour, where="rm", weight=weight, room=_LEFT - right - 16)
    return image


def _name(
    draw: ImageDraw.ImageDraw, y: float, text: str, *, colour: tuple[int, int, int], weight: Weight
) -> None:
    """The name of a finding beside its bar: in one line, or in two where that would be shrunk too much."""
    room = _BAR[0] - _MARGIN - 14
    lines, size, width = [text], 25, len(text) // 2
    if fitting(text, weight, size, room).size < _SMALLEST_NAME:
        lines, size = wrap(text, width), _SMALLEST_NAME
        while len(lines) > 2:
            width += 1
            lines = wrap(text, width)
    for number, line in enumerate(lines):
        middle = y + (number - (len(lines) - 1) / 2) * _ROW / 2
        _text(draw, (_MARGIN, middle), line, size, colour, weight=weight, room=room)


def _right(picture: SummaryPicture) -> Image.Image:
    """The overview, and the facts below it."""
    width = WIDTH - _LEFT - _GAP - _MARGIN
    overview = _overview(picture, width)
    lines = [line for fact in picture.facts for line in _fact_lines(*fact, width)]
    image = Image.new("RGB", (width, overview.height + 12 + _LINE * len(lines)))
    image.paste(overview, ((width - overview.width) // 2, 0))
    draw = ImageDraw.Draw(image)
    for index, (name, value) in enumerate(lines):
        y = overview.height + 12 + _LINE * (index + 0.5)
        font = font_of("SemiBold", 24)
        _text(draw, (0, y), name, 24, GREY, room=width - font.getlength(value) - 14)
        draw.text((width, y), value, WHITE, font, anchor="rm")
    return image


def _fact_lines(name: str, value: str, width: float) -> list[tuple[str, str]]:
    """A fact in one line, or in two where its name would have to be shrunk too much beside the value."""
    room = width - font_of("SemiBold", 24).getlength(value) - 14
    if font_of("Regular", _SMALLEST_FACT).getlength(name) <= room:
        return [(name, value)]
    return [(name, ""), ("", value)]


def _overview(picture: SummaryPicture, width: int) -> Image.Image:
    overview = picture.overview
    if overview is None:
        return Image.new("RGB", (width, 1))
    rows, columns = overview.hu.shape
    height_mm, width_mm = rows * overview.spacing_mm[0], columns * overview.spacing_mm[1]
    scale = min(width / width_mm, 520 / height_mm)  # drawn pixels to a millimetre
    size = max(1, round(width_mm * scale)), max(1, round(height_mm * scale))
    grey = Image.fromarray(windowed(overview.hu, "lung")).resize(size, Image.Resampling.BICUBIC)
    image = grey.convert("RGB")
    draw = ImageDraw.Draw(image)
    used: list[float] = []
    for row, label in overview.marks:
        y = (row + 0.5) * overview.spacing_mm[0] * scale
        draw.line((0, y, image.width, y), fill=AMBER, width=2)
        place = min(max(y, 66), image.height - 4)  # clear of the letters of the sides
        shift = 40 * sum(abs(place - other) < 26 for other in used)
        used.append(place)
        outlined(draw, (image.width - 8 - shift, place), label, where="rb", font=font_of("SemiBold", 24))
    for x, letter, where in ((8, picture.sides[0], "lt"), (image.width - 8, picture.sides[1], "rt")):
        outlined(draw, (x, 8), letter, where=where, font=font_of("SemiBold", 28))
    return image


def _beside(left: Image.Image, right: Image.Image) -> Image.Image:
    image = Image.new("RGB", (WIDTH, max(left.height, right.height)))
    image.paste(left, (0, 0))
    image.paste(right, (_LEFT + _GAP, 0))
    return image


def _lines(texts: tuple[str, ...]) -> Image.Image:
    image = Image.new("RGB", (WIDTH, max(1, _LINE * len(texts))))
    draw = ImageDraw.Draw(image)
    for index, text in enumerate(texts):
        _text(draw, (_MARGIN, _LINE * (index + 0.5)), text, 23, GREY, room=WIDTH - 2 * _MARGIN)
    return image


def _text(
    draw: ImageDraw.ImageDraw,
    point: tuple[float, float],
    text: str,
    size: float,
    colour: tuple[int, int, int],
    *,
    where: str = "lm",
    weight: Weight = "Regular",
    room: float = WIDTH,
) -> None:
    draw.text(point, text, colour, fitting(text, weight, size, room), anchor=where)
