"""Hold a site for a person who looks at its pages, or take the screenshots of the documentation.

python -m tests.dicom_node.web.look FOLDER [--language ru] [--screenshots FOLDER]
"""

from __future__ import annotations

import argparse
import io
import threading
from contextlib import suppress
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page
from pydicom import dcmread

from dicom_node.signals import signals_as_interrupt
from dicom_node.viewer.config import viewer_link
from tests.dicom_node.chromium import chromium
from tests.dicom_node.web.running_site import RunningSite, running_site

# File: page, width, height, colour scheme.
PAGES = {
    "studies": ("/", 1920, 640, "dark"),
    "study": ("finished", 1920, 1320, "dark"),
    "refused": ("refused", 1920, 760, "dark"),
    "system": ("/system", 1920, 1080, "dark"),
    "study-phone": ("finished", 375, 812, "light"),
}
TOKEN = "looking"  # noqa: S105
_LARGEST = 250_000  # bytes
_PATIENCE_MS, _SETTLE_MS = 60_000, 5_000  # without a graphics card it draws slowly


def take_screenshots(site: RunningSite, folder: Path) -> None:
    """Every page, the viewer with the report open, a key image and the summary page."""
    folder.mkdir(parents=True, exist_ok=True)
    with chromium() as browser:
        for name, (place, width, height, scheme) in PAGES.items():
            context = _window(browser, width, height, scheme)
            page = context.new_page()
            if name == "studies":
                page.goto(site.url)
                _keep(page, folder / "sign-in.png")
            _sign_in(page, site)
            path = place if place.startswith("/") else f"/work/{site.key(place)}"
            page.goto(site.url + path, wait_until="networkidle")
            _keep(page, folder / f"{name}.png")
            context.close()
        context = _window(browser, 1600, 900, "dark")
        _viewer(context.new_page(), site, folder)
        context.close()
    pictures = [item for item in site.ledger.objects.of(site.key("finished")) if item.kind == "sc"]
    for name, picture in (("key-image", pictures[0]), ("summary", pictures[-1])):
        _save(Image.fromarray(dcmread(picture.path).pixel_array), folder / f"{name}.png")


def _window(browser: Browser, width: int, height: int, scheme: str) -> BrowserContext:
    return browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)  # type: ignore[arg-type]


def _sign_in(page: Page, site: RunningSite) -> None:
    page.goto(f"{site.url}/sign-in")
    page.locator("#token").fill(TOKEN)
    page.locator("form button").click()
    page.wait_for_url(f"{site.url}/")


def _viewer(page: Page, site: RunningSite, folder: Path) -> None:
    """The report as it opens."""
    _sign_in(page, site)
    page.set_default_timeout(_PATIENCE_MS)
    page.goto(site.url + viewer_link(site.studies["finished"]))
    page.locator(".cornerstone-canvas").first.wait_for()
    page.get_by_role("button", name="Confirm and hide").click()
    [report] = [item for item in site.ledger.objects.of(site.key("finished")) if item.kind == "sr"]
    description = dcmread(report.path, stop_before_pixels=True).SeriesDescription
    page.get_by_text(description, exact=True).last.dblclick()
    page.locator("svg").get_by_text("%").first.wait_for()
    page.wait_for_timeout(_SETTLE_MS)
    _keep(page, folder / "viewer-report.png")


def _keep(page: Page, file: Path) -> None:
    _save(Image.open(io.BytesIO(page.screenshot())).convert("RGB"), file)


def _save(image: Image.Image, file: Path) -> None:
    """Small: with as many colours as they need, and fewer where that is too many."""
    for colours in (256, 128, 64, 32):
        image.quantize(colours, Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE).save(
            file, optimize=True
        )
        if file.stat().st_size < _LARGEST:
            return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--language", default="en")
    parser.add_argument("--screenshots", type=Path)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True)
    with (
        suppress(KeyboardInterrupt),
        signals_as_interrupt(),
        running_site(
            arguments.folder, grid=None, language=arguments.language, patient=None, token=TOKEN
        ) as site,
    ):
        if arguments.screenshots is not None:
            take_screenshots(site, arguments.screenshots)
            return
        print(site.url, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
