"""Anti-aliased lines on a picture, each with a dark halo to stand out on bright and on dark tissue."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw

from structured_report.lettering import AMBER, BLACK, WHITE

_SUPERSAMPLING = 4  # Pillow draws lines and circles without anti-aliasing


class Lines:
    """Lines that are drawn onto an image (RGB) together, by `draw`.

    Widths are for an image of 512 columns; `unit` is how many times wider this one is.
    """

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

    def outline(self, points: Sequence[tuple[float, float]]) -> None:
        """An amber line through (x, y) points, in pixels of the image; its inside stays as it is."""
        corners = [((x + 0.5) * _SUPERSAMPLING, (y + 0.5) * _SUPERSAMPLING) for x, y in points]
        for name, width in (("halo", 4.0), ("amber", 2.0)):
            thickness = round(width * self._unit * _SUPERSAMPLING)
            ImageDraw.Draw(self._layers[name]).line(corners, fill=255, width=thickness, joint="curve")

    def draw(self) -> None:
        """Put what was drawn onto the image."""
        for name, colour in (("halo", BLACK), ("white", WHITE), ("amber", AMBER)):
            mask = self._layers[name].resize(self._image.size, Image.Resampling.BOX)
            self._image.paste(colour, (0, 0), mask)
