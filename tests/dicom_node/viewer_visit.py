"""A page of the viewer as a person uses it, and the pixels that are seen on it.

Screenshots go to the folder that VIEWER_SCREENSHOTS names, where it is set.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import ConsoleMessage, FloatRect, Locator, Page, Request, Response
from scipy.ndimage import minimum_filter

from dicom_node.viewer.config import viewer_link

TOKEN = "s3cret"  # noqa: S105
PATIENCE_S = 40  # the machine that runs tests may be busy
MAIN_COLOURS = ((255, 255, 0), (0, 255, 0))  # of a report: its first group is green
_FAR, _DARK = 40, 90  # of 255
_SECRETS = ("SEEN-0815", "Sichtbar", "SECRET-4711", "Geheim")


@dataclass
class Visit:
    """A page of the viewer, and all that went wrong or out while it was open."""

    page: Page
    url: str
    page_errors: list[str] = field(default_factory=list)
    console_errors: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("pageerror", lambda error: self.page_errors.append(str(error)))
        self.page.on("requestfailed", self._unless_given_up)
        self.page.on("request", lambda request: self.requests.append(request.url))

        self.page.on("console", self._if_error)
        self.page.on("response", self._if_refused)

    def _if_error(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.console_errors.append(message.text)

    def _if_refused(self, response: Response) -> None:
        if response.status >= 400:
            self.failed.append(f"{response.status} {response.url}")

    def _unless_given_up(self, request: Request) -> None:
        """Frames that were to be at hand are given up when another series is shown."""
        if not (request.failure == "net::ERR_ABORTED" and "/frames/" in request.url):
            self.failed.append(f"{request.failure} {request.url}")

    def open(self, study: str) -> None:
        """By its address; signed out, a person signs in on the way."""
        self.page.goto(self.url + viewer_link(study))
        self.sign_in()
        self.until_shown()

    def open_from_its_page(self, study: str) -> None:
        """With one click on the page of the study."""
        self.page.goto(f"{self.url}/study/{study}")
        self.sign_in()
        self.page.get_by_role("link", name="Open in the viewer").click()
        self.until_shown()

    def sign_in(self) -> None:
        self.page.get_by_label("Token of the node").fill(TOKEN)
        self.page.get_by_role("button", name="Sign in").click()

    def until_shown(self) -> None:
        self.page.locator(".cornerstone-canvas").first.wait_for(timeout=2000 * PATIENCE_S)
        self.page.get_by_role("button", name="Confirm and hide").click()

    def show(self, series_number: int) -> None:
        """Double-click a series, as a person does."""
        self.page.get_by_text(f"S:{series_number}", exact=True).dblclick()

    def next_measurement(self) -> None:
        self.page.locator("[data-cy=viewport-action-arrows-right]").click()

    @property
    def slice_number(self) -> Locator:
        return self.page.locator("[data-cy=viewport-overlay-bottom-right]")

    @property
    def title(self) -> Locator:
        return self.page.locator("[data-cy=viewport-overlay-top-left]")

    def text(self, words: str | re.Pattern[str]) -> Locator:
        """Text that is drawn on the image."""
        return self.page.locator("svg.svg-layer").get_by_text(words, exact=True)

    def labels(self) -> list[FloatRect]:
        """Where on the page the labels are that are drawn on the image."""
        boxes = [label.bounding_box() for label in self.page.locator("svg.svg-layer text").all()]
        return [box for box in boxes if box is not None]

    def labels_are_whole_and_apart(self) -> bool:
        """None is cut by the edge of the image's window, none covers another."""
        window = self.page.locator("svg.svg-layer").first.bounding_box()
        boxes = self.labels()
        return (
            window is not None
            and all(_is_inside(box, window) for box in boxes)
            and not any(_overlap(one, other) for one, other in combinations(boxes, 2))
        )

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds, while the page goes on, and fail where it does not."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, "it did not happen in time"
            self.page.wait_for_timeout(200)

    def picture(self, name: str) -> ImageOnScreen:
        """The viewport as it is on screen now, kept under this name."""
        canvas = self.page.locator(".cornerstone-canvas").first
        self.until(lambda: canvas.bounding_box() is not None)  # there is none between two series
        box = canvas.bounding_box()
        assert box is not None
        whole = self.page.screenshot()
        keep(name, whole)
        pixels = np.asarray(Image.open(BytesIO(whole)).convert("RGB"))
        top, left = round(box["y"]), round(box["x"])
        seen = pixels[top : top + round(box["height"]), left : left + round(box["width"])]
        return ImageOnScreen(seen, left, top)

    def share_of_white(self, part: Locator) -> float:
        """Of an element as it is seen."""
        pixels = np.asarray(Image.open(BytesIO(part.screenshot())).convert("L"))
        return float((pixels > 250).mean())

    def nothing_wrong(self) -> None:
        assert self.page_errors == []
        assert self.console_errors == []
        assert self.failed == []
        # What shows a PDF is in the browser itself.
        own = (f"{self.url}/", "data:", "blob:", "chrome-extension:", "chrome:")
        assert [url for url in self.requests if not url.startswith(own)] == []
        for secret in _SECRETS:
            assert [url for url in self.requests if secret in url] == []


def _is_inside(box: FloatRect, window: FloatRect) -> bool:
    return (
        box["x"] >= window["x"]
        and box["y"] >= window["y"]
        and box["x"] + box["width"] <= window["x"] + window["width"]
        and box["y"] + box["height"] <= window["y"] + window["height"]
    )


def _overlap(one: FloatRect, other: FloatRect) -> bool:
    """Whether two boxes share more than the blank edges of their first and last lines."""
    across = min(one["x"] + one["width"], other["x"] + other["width"]) - max(one["x"], other["x"])
    down = min(one["y"] + one["height"], other["y"] + other["height"]) - max(one["y"], other["y"])
    return across > 2 and down > 2


@dataclass(frozen=True)
class ImageOnScreen:
    """Pixels [row, column, RGB] of a viewport, `left`, `top` on the page; a square image fits it, centred."""

    pixels: NDArray[np.uint8]
    left: int
    top: int

    def at(self, column: float, row: float, side: int) -> tuple[int, int]:
        """Screen row and column of a point of the image, which counts from the corner of the first pixel."""
        height, width = self.pixels.shape[:2]
        scale = min(height, width) / side
        return (
            round((height - side * scale) / 2 + row * scale),
            round((width - side * scale) / 2 + column * scale),
        )

    def colour(self, column: float, row: float, side: int) -> tuple[int, int, int]:
        y, x = self.at(column, row, side)
        red, green, blue = np.median(self.pixels[y - 2 : y + 3, x - 2 : x + 3].reshape(-1, 3), axis=0)
        return int(red), int(green), int(blue)

    def likeness(self, image: NDArray[np.uint8]) -> float:
        """Correlation with an image [row, column, RGB] that fits the window, below what the viewer writes."""
        height, width = self.pixels.shape[:2]
        scale = min(height / image.shape[0], width / image.shape[1])
        shown = round(image.shape[0] * scale), round(image.shape[1] * scale)
        top, left = (height - shown[0]) // 2, (width - shown[1]) // 2
        wanted = np.asarray(Image.fromarray(image).resize(shown[::-1]))
        seen = self.pixels[top : top + shown[0], left : left + shown[1]]
        below = max(height // 5 - top, 0)
        return float(np.corrcoef(seen[below:].ravel(), wanted[below:].ravel())[0, 1])

    def drawn(self) -> NDArray[np.bool_]:
        """Pixels of a measurement's colour."""
        return np.any(
            [(np.abs(self.pixels.astype(int) - colour) < _FAR).all(axis=-1) for colour in MAIN_COLOURS],
            axis=0,
        )

    def share_of_outline(self, polygon: Sequence[tuple[float, float]], side: int) -> float:
        """Share of points along the outline with a pixel of a measurement's colour within 3 pixels."""
        drawn = self.drawn()
        hits = []
        for start, end in zip(polygon, [*polygon[1:], polygon[0]], strict=True):
            for part in np.linspace(0, 1, 10):
                y, x = self.at(*(np.array(start) * (1 - part) + np.array(end) * part), side)
                hits.append(drawn[y - 3 : y + 4, x - 3 : x + 4].any())
        return float(np.mean(hits))

    def share_with_rim(self, box: FloatRect) -> float:
        """Of the drawn pixels in a box of the page, the share with a dark one within 3 pixels."""
        x, y = round(box["x"]) - self.left, round(box["y"]) - self.top
        part = slice(y, y + round(box["height"])), slice(x, x + round(box["width"]))
        near_dark = minimum_filter(self.pixels.max(axis=-1), 7) < _DARK
        drawn = self.drawn()[part]
        assert drawn.sum() > 100
        return float(near_dark[part][drawn].mean())


def keep(name: str, png: bytes) -> None:
    folder = os.environ.get("VIEWER_SCREENSHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / f"viewer-{name}.png").write_bytes(png)
