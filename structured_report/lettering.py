"""Letters and colours of the pictures that the node draws."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Literal

from PIL import ImageDraw, ImageFont

FONT = (
    resources.files("fontpkg_ibm_plex_sans") / "files" / "IBMPlexSans[wdth,wght].ttf"
)  # Latin, Greek, Cyrillic

WHITE, GREY, AMBER, BLACK = (245, 245, 245), (178, 178, 178), (255, 191, 64), (0, 0, 0)

Weight = Literal["Regular", "SemiBold"]


def outlined(
    draw: ImageDraw.ImageDraw,
    point: tuple[float, float],
    text: str,
    *,
    where: str,
    font: ImageFont.FreeTypeFont,
) -> None:
    """White text with a dark edge, to stand out on bright and on dark tissue."""
    draw.text(point, text, WHITE, font, where, stroke_width=max(1, round(font.size / 14)), stroke_fill=BLACK)


def fitting(text: str, weight: Weight, size: float, room: float) -> ImageFont.FreeTypeFont:
    """The font at `size`, or so much smaller that `text` is no wider than `room` pixels."""
    font = font_of(weight, size)
    while font.getlength(text) > room and size > 1.0:  # hinted widths do not follow the size exactly
        size = min(size - 0.5, size * room / font.getlength(text))
        font = font_of(weight, max(size, 1.0))
    return font


@cache
def font_of(weight: Weight, size: float) -> ImageFont.FreeTypeFont:
    """The font in a weight and size (pixels)."""
    # The basic layout engine: the other is an optional library, and draws other pixels where it is found.
    font = ImageFont.truetype(str(FONT), size, layout_engine=ImageFont.Layout.BASIC)
    font.set_variation_by_name(weight)
    return font
