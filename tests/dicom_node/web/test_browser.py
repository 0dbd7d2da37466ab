"""Every page in a real browser: narrow and wide, by day and in the dark, with the keyboard alone.

PAGES_SCREENSHOTS names a folder that keeps the screenshots.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Request, expect

from tests.dicom_node.chromium import chromium
from tests.dicom_node.web.running_site import MARKUP, RunningSite, running_site

WIDTHS = {375: 812, 1920: 1080}
PAGES = ("studies", "finished", "normal", "refused", "failing", "in work", "system")


@pytest.fixture(scope="module")
def browser_site(orthanc_program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSite]:
    with running_site(tmp_path_factory.mktemp("browser")) as site:
        yield site


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    named = os.environ.get("PAGES_SCREENSHOTS")
    folder = Path(named) if named else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@dataclass
class Watched:
    """A page of a browser, and what it must not do."""

    page: Page
    site: RunningSite
    wrong: list[str] = field(default_factory=list)

    def go(self, name: str) -> None:
        """Open one of the pages."""
        path = {"studies": "/", "system": "/system"}.get(name)
        self.page.goto(self.site.url + (path or f"/work/{self.site.key(name)}"))
        self.page.evaluate("document.fonts.ready.then(() => true)")

    def watch(self) -> None:
        """From now on every error and every request to another host is kept."""
        self.page.on("console", lambda line: line.type == "error" and self.wrong.append(line.text))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("dialog", lambda dialog: self.wrong.append(f"dialog {dialog.message}"))
        self.page.on("request", self._request)

    def _request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in {"blob", "data"} and parts.netloc != urlsplit(self.site.url).netloc:
            self.wrong.append(f"request to {parts.netloc}")


@pytest.fixture
def watched(request: pytest.FixtureRequest, browser: Browser, browser_site: RunningSite) -> Iterator[Watched]:
    """A page of its own; `request.param` is (width, colour scheme), a wide dark screen without."""
    width, scheme = getattr(request, "param", (1920, "dark"))
    context = browser.new_context(
        viewport={"width": width, "height": WIDTHS[width]}, color_scheme=scheme, reduced_motion="reduce"
    )
    page = Watched(context.new_page(), browser_site)
    page.watch()
    yield page
    context.close()
    assert page.wrong == []


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize(
    "watched", [(width, scheme) for width in WIDTHS for scheme in ("dark", "light")], indirect=True
)
def test_every_page_is_whole_and_legible(
    watched: Watched, name: str, screenshots: Path, request: pytest.FixtureRequest
) -> None:
    watched.go(name)
    page = watched.page
    assert page.locator("h1").count() == 1
    # Nothing is wider than the screen, so that nobody scrolls sideways.
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0
    for image in page.locator("main img").all():
        image.scroll_into_view_if_needed()
        expect(image).to_have_js_property("complete", True)
        assert image.evaluate("image => image.naturalWidth") > 0
    page.evaluate("scrollTo(0, 0)")
    # WCAG 2.2 A and AA: contrast, names, roles, labels, landmarks.
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    found = Axe().run(page, options={"runOnly": {"type": "tag", "values": tags}})
    assert found.violations_count == 0, found.generate_report()
    width, scheme = request.node.callspec.params["watched"]
    file = screenshots / f"{name.replace(' ', '-')}-{width}-{scheme}.png"
    page.screenshot(path=file, full_page=True)
    assert file.stat().st_size > 10_000


def test_nobody_scrolls_sideways_at_widths_between(watched: Watched) -> None:
    for name in PAGES:
        watched.go(name)
        for width in (320, 600, 768, 900, 1024, 1280, 2560):
            watched.page.set_viewport_size({"width": width, "height": 900})
            wide = watched.page.evaluate(
                "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
            assert wide <= 0, (name, width)


def test_larger_letters_get_the_room_they_need(watched: Watched) -> None:
    """WCAG 2.2, 1.4.4: twice the size, as a person sets it in the browser."""
    devtools = watched.page.context.new_cdp_session(watched.page)
    devtools.send("Page.setFontSizes", {"fontSizes": {"standard": 32, "fixed": 26}})
    for name in ("studies", "finished", "system"):
        watched.go(name)
        assert watched.page.evaluate("parseFloat(getComputedStyle(document.body).fontSize)") == 30
        for width in (768, 1366, 1920):
            watched.page.set_viewport_size({"width": width, "height": 900})
            wide = watched.page.evaluate(
                "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
            assert wide <= 0, (name, width)


@pytest.mark.parametrize("watched", [(1920, "dark"), (1920, "light")], indirect=True)
def test_marks_of_bars_stand_out(watched: Watched) -> None:
    """WCAG 2.2, 1.4.11, which axe-core does not measure: 3:1 for the fill against its track."""
    watched.go("finished")
    pairs = watched.page.evaluate(
        """() => [...document.querySelectorAll("svg.bar")].map((bar) =>
            [".fill", ".track"].map((part) => getComputedStyle(bar.querySelector(part)).fill))"""
    )
    assert len(pairs) > 3
    for fill, track in pairs:
        assert _contrast(fill, track) >= 3, (fill, track)


def _contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours `rgb(r, g, b)` (WCAG 2.2, relative luminance)."""

    def luminance(colour: str) -> float:
        parts = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_markup_of_a_tag_is_seen_as_it_is(watched: Watched) -> None:
    watched.go("finished")
    given = str(MARKUP.name).replace("^", " ")
    expect(watched.page.locator("h1")).to_have_text(given)
    assert watched.page.locator("main script, main h1 b").count() == 0


def test_from_the_list_to_a_slice_with_the_keyboard_alone(watched: Watched) -> None:
    watched.go("studies")
    page = watched.page
    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text("Skip to content")
    page.keyboard.press("Enter")
    key = watched.site.key("finished")
    _tab_to(page, f"#w-{key}")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/work/{key}")
    image, text = page.locator("#slice-image"), page.locator("#slice-text")
    _tab_to(page, "a[data-slice]")
    page.keyboard.press("Enter")
    expect(page.locator(".stage-image")).to_be_focused()
    # Where the algorithm looked is drawn and said, and no longer once it is switched off.
    expect(page.locator("#outlined")).to_contain_text("where the algorithm looked for")
    with page.expect_response(lambda response: "/slices/" in response.url and "outlines" not in response.url):
        page.keyboard.press("o")
    expect(page.locator("#outlines")).not_to_be_checked()
    expect(page.locator("#outlined")).to_be_empty()
    page.keyboard.press("Home")
    expect(text).to_have_text("Slice 1 of 64")
    for press, number in [("ArrowUp", 2), ("PageUp", 12), ("ArrowDown", 11), ("End", 64), ("PageDown", 54)]:
        before = image.get_attribute("src")
        page.keyboard.press(press)
        expect(text).to_have_text(f"Slice {number} of 64")
        expect(image).not_to_have_attribute("src", before or "")
        expect(image).to_have_attribute("alt", f"Axial CT slice {number} of 64, window Mediastinum")
    before = image.get_attribute("src")
    page.keyboard.press("3")
    expect(page.locator("input[value=bone]")).to_be_checked()
    expect(page.locator("input[name=centre]")).to_have_value("400")
    expect(image).not_to_have_attribute("src", before or "")
    assert image.evaluate("image => image.naturalWidth") == 512
    _tab_to(page, "input[name=centre]")
    page.keyboard.type("-600")
    expect(page.locator("input[value=own]")).to_be_checked()
    # A menu opens, closes, and gives the focus back.
    page.locator("details.menu summary").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Structured report")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("link", name="Structured report")).to_be_hidden()
    expect(page.locator("details.menu summary")).to_be_focused()


def _tab_to(page: Page, selector: str) -> None:
    """Go on with the tab key until the element has the focus, which can be seen."""
    target = page.locator(selector).first
    for _ in range(60):
        page.keyboard.press("Tab")
        if target.evaluate("element => element === document.activeElement"):
            return
    raise AssertionError(f"the keyboard does not reach {selector}")


def test_focus_can_be_seen_wherever_it_goes(watched: Watched) -> None:
    for name in ("studies", "finished", "system"):
        watched.go(name)
        for _ in range(25):
            watched.page.keyboard.press("Tab")
            outline = watched.page.evaluate(
                """() => {
                    const element = document.activeElement;
                    if (element === document.body || element.matches(".skip")) return "shown";
                    // The line of a study and the name of a window bear it for what they hold.
                    const holders = [element, element.closest("tr"), element.nextElementSibling];
                    const seen = holders.some((one) => one && getComputedStyle(one).outlineStyle !== "none");
                    return seen ? "shown" : element.outerHTML.slice(0, 100);
                }"""
            )
            assert outline == "shown"


def test_the_list_follows_by_itself_and_keeps_the_focus(watched: Watched) -> None:
    watched.go("studies")
    key = watched.site.key("in work")
    row = watched.page.locator(f"#w-{key}")
    row.focus()
    expect(watched.page.locator("tr", has=row)).to_contain_text("Analysing")
    try:
        watched.site.ledger.enter(key, "storing")
        expect(watched.page.locator("tr", has=row)).to_contain_text("Storing", timeout=15_000)
        expect(row).to_be_focused()
    finally:
        watched.site.ledger.enter(key, "analysing")


def test_a_destination_is_tested_on_the_page(watched: Watched) -> None:
    watched.go("system")
    for name, words in [("pacs", "Answered in"), ("mirror", "cannot be reached")]:
        watched.page.get_by_role("button", name=f"Test {name} (C-ECHO)").click()
        expect(watched.page.locator("li", has_text=name).locator(".echo").first).to_contain_text(words)
    assert urlsplit(watched.page.url).path == "/system"


def test_results_are_sent_again_by_a_button(watched: Watched) -> None:
    watched.go("normal")
    before = len(watched.site.pacs.received)
    watched.page.get_by_role("button", name="Send again pacs").click()
    expect(watched.page.locator("#deliveries")).to_contain_text("Tries: 2", timeout=15_000)
    assert len(watched.site.pacs.received) > before


def test_a_double_click_is_one_click(watched: Watched) -> None:
    watched.go("normal")
    sent: list[str] = []
    watched.page.on("request", lambda request: request.method == "POST" and sent.append(request.url))
    watched.page.get_by_role("button", name="Send again pacs").dblclick()
    watched.page.wait_for_url("**#deliveries")
    watched.page.wait_for_load_state()
    assert len(sent) == 1


def test_search_finds_a_study_by_its_accession_number(watched: Watched) -> None:
    watched.go("studies")
    watched.page.get_by_role("searchbox").fill("A-refused")
    watched.page.keyboard.press("Enter")
    watched.page.wait_for_url(f"**/work/{watched.site.key('refused')}")
    expect(watched.page.locator("main")).to_contain_text("no_lungs")
