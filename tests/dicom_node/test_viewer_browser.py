"""The viewer in a real browser, over a real archive and node: what a radiologist sees of a report.

Screenshots go to the folder that VIEWER_SCREENSHOTS names, where it is set.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Locator,
    Page,
    Request,
    Response,
    expect,
)
from pydicom import dcmread
from pydicom.dataset import Dataset

from dicom_node.local_orthanc import LocalOrthanc
from dicom_node.node import Node
from dicom_node.orthanc import Orthanc
from dicom_node.settings import HttpSettings, IntakeSettings, ReportSettings, Settings
from dicom_node.viewer.config import app_config, viewer_link
from inference.overview import CoronalOverview
from inference.saliency import SaliencyMap
from inference.saliency_file import saliency_bytes
from inference.saliency_region import saliency_piece
from inference.series import SeriesChoice
from inference.study_result import Finding, Measurement, SaliencyRegion, SliceReference, StudyResult
from inference.volume import read_volume
from phantom.cases import Case
from phantom.grid import centred_grid
from phantom.identity import PatientIdentity
from phantom.studies import chest_study
from structured_report.provenance import MANUFACTURER
from tests.dicom_node.chromium import chromium
from tests.dicom_node.conftest import eventually, next_free_port
from tests.dicom_node.http_server import served
from tests.dicom_node.stand_in import StandInAnalyser
from tests.dicom_node.studies import send, study_uid, write_chest
from tests.dicom_node.viewer_objects import (
    REFUSED_BAR,
    REFUSED_GREY,
    REFUSED_SIDE,
    file_bytes,
    refusal_picture,
    refusal_report,
)

PATIENT = PatientIdentity("Sichtbar^Person", "SEEN-0815", "O", None)
SLICES, SIDE = 32, 128
KEY, NODULE, EFFUSION = 16, 20, 9  # slices, from the feet up
# Where the stand-in "looked" for the nodule: places of its map along slices, rows, columns of the CT.
LOOKED = (slice(9, 11), slice(6, 9), slice(4, 7))
PLACE = (2, 8, 8)  # voxels in a place of the map
TOKEN = "s3cret"  # noqa: S105
MAIN_COLOURS = ((255, 255, 0), (0, 255, 0))  # of measurements: the one that is stepped to is green
PATIENCE_S = 40  # the machine that runs tests may be busy


class FullReport(StandInAnalyser):
    """An answer with everything: findings on two slices, one of them located, absent ones, quantities."""

    region: SaliencyRegion | None = None

    def analyse(self, paths: Sequence[Path], choice: SeriesChoice, **more: Any) -> StudyResult:
        volume = read_volume(paths)
        places = tuple(count // size for count, size in zip(volume.voxels_hu.shape, PLACE, strict=True))
        values = np.zeros(places, np.float32)
        values[LOOKED] = 0.5
        values[tuple(axis.start + 1 for axis in LOOKED)] = 0.75
        centres = tuple(
            np.arange(count) * size + (size - 1) / 2 for count, size in zip(places, PLACE, strict=True)
        )
        shape = volume.voxels_hu.shape
        saliency = SaliencyMap(values, centres, np.eye(4), shape, np.ones(places, dtype=bool))
        overview = CoronalOverview(volume.voxels_hu[::-1, SIDE // 2].astype(np.int16), (10.0, 3.2))
        self.saliency = saliency_bytes({"Lung nodule": saliency}, volume.affine, overview)
        piece = saliency_piece(saliency, 0.25)
        self.region = piece.region(volume) if piece is not None else None
        return super().analyse(paths, choice, **more)

    def _result(self, key: str, choice: SeriesChoice) -> StudyResult:
        def at(index: int) -> SliceReference:
            return SliceReference(index, choice.sop_instance_uids[index], None, 64.0, 40.0)

        assert self.region is not None
        nodule = self.region.slice
        findings = (
            Finding(
                "Lung nodule", 0.8734, 0.5, True, 3, {"stand-in": 0.8734}, "right", nodule, region=self.region
            ),
            Finding("Pleural effusion", 0.7125, 0.6, True, 2, {"stand-in": 0.7125}, "left", at(EFFUSION)),
            Finding("Cardiomegaly", 0.125, 0.5, False, 2, {"stand-in": 0.125}),
            Finding("Emphysema", 0.0, 0.4, False, 1, {"stand-in": 0.0}),
        )
        return replace(
            super()._result(key, choice),
            probability=0.9625,
            findings=findings,
            measurements=QUANTITIES,
            key_slices=(at(KEY), nodule, at(EFFUSION)),
        )


QUANTITIES = (
    Measurement("Lung volume", 4210.5, "mL", "Voxels counted."),
    Measurement("Lung volume, left", 1980.25, "mL", "Voxels counted."),
    Measurement("Lung volume, right", 2230.25, "mL", "Voxels counted."),
    Measurement("Mean lung density", -843.2, "[hnsf'U]", "Mean of voxels."),
    Measurement("LAA-950", 2.5, "%", "Share of voxels."),
    Measurement("LAA-910", 9.75, "%", "Share of voxels."),
    Measurement("HAA", 4.5, "%", "Share of voxels."),
    Measurement("Perc15", -912.0, "[hnsf'U]", "Percentile of voxels."),
)


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

    def show(self, series: str) -> None:
        """Double-click a series, as a person does."""
        self.page.get_by_text(series, exact=True).first.dblclick()

    def next_measurement(self) -> None:
        self.page.locator("[data-cy=viewport-action-arrows-right]").click()

    @property
    def slice_number(self) -> Locator:
        return self.page.locator("[data-cy=viewport-overlay-bottom-right]")

    @property
    def title(self) -> Locator:
        return self.page.locator("[data-cy=viewport-overlay-top-left]")

    def text(self, words: str) -> Locator:
        """Text that is drawn on the image."""
        return self.page.locator("svg").get_by_text(words, exact=True)

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds, while the page goes on, and fail where it does not."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, "it did not happen in time"
            self.page.wait_for_timeout(200)

    def picture(self, name: str) -> ImageOnScreen:
        """The viewport as it is on screen now, kept under this name."""
        canvas = self.page.locator(".cornerstone-canvas").first
        while (box := canvas.bounding_box()) is None:  # between two series
            self.page.wait_for_timeout(100)
        whole = self.page.screenshot()
        keep(name, whole)
        pixels = np.asarray(Image.open(BytesIO(whole)).convert("RGB"))
        top, left = round(box["y"]), round(box["x"])
        return ImageOnScreen(pixels[top : top + round(box["height"]), left : left + round(box["width"])])

    def nothing_wrong(self) -> None:
        assert self.page_errors == []
        assert self.console_errors == []
        assert self.failed == []
        assert [url for url in self.requests if not url.startswith((f"{self.url}/", "data:", "blob:"))] == []
        for secret in ("SEEN-0815", "Sichtbar", "SECRET-4711", "Geheim"):
            assert [url for url in self.requests if secret in url] == []


@dataclass(frozen=True)
class ImageOnScreen:
    """Pixels [row, column, RGB] of a viewport in which a square image fits the height, centred."""

    pixels: NDArray[np.uint8]

    def at(self, column: float, row: float, side: int = SIDE) -> tuple[int, int]:
        """Screen row and column of a point of the image, which counts from the corner of the first pixel."""
        height, width = self.pixels.shape[:2]
        scale = min(height, width) / side
        return (
            round((height - side * scale) / 2 + row * scale),
            round((width - side * scale) / 2 + column * scale),
        )

    def colour(self, column: float, row: float, side: int = SIDE) -> tuple[int, int, int]:
        y, x = self.at(column, row, side)
        red, green, blue = np.median(self.pixels[y - 2 : y + 3, x - 2 : x + 3].reshape(-1, 3), axis=0)
        return int(red), int(green), int(blue)

    def likeness(self, image: NDArray[np.uint8]) -> float:
        """Correlation with an image [row, column, RGB] that fits the height, below what the viewer writes."""
        height, width = self.pixels.shape[:2]
        shown = round(height * image.shape[1] / image.shape[0])
        wanted = np.asarray(Image.fromarray(image).resize((shown, height)))
        left, top = (width - shown) // 2, height // 5
        seen = self.pixels[top:, left : left + shown]
        return float(np.corrcoef(seen.ravel(), wanted[top:].ravel())[0, 1])

    def share_of_outline(self, polygon: Sequence[tuple[float, float]]) -> float:
        """Share of points along the outline with a pixel of a measurement's colour within 3 pixels."""
        drawn = np.zeros(self.pixels.shape[:2], dtype=bool)
        for colour in MAIN_COLOURS:
            drawn |= (np.abs(self.pixels.astype(int) - colour) < 40).all(axis=-1)
        hits = []
        for start, end in zip(polygon, [*polygon[1:], polygon[0]], strict=True):
            for part in np.linspace(0, 1, 40):
                y, x = self.at(*(np.array(start) * (1 - part) + np.array(end) * part))
                hits.append(drawn[y - 3 : y + 4, x - 3 : x + 4].any())
        return float(np.mean(hits))


def keep(name: str, png: bytes) -> None:
    folder = os.environ.get("VIEWER_SCREENSHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / f"viewer-{name}.png").write_bytes(png)


@dataclass(frozen=True)
class Hospital:
    """A node that has analysed a study and refused another; `headers` are those of the first, feet up."""

    url: str
    study: str
    refused: str
    headers: Sequence[Dataset]
    folder: Path

    @property
    def result(self) -> StudyResult:
        """The answer about the first study."""
        [file] = self.folder.glob("node/results/*/result.json")
        return StudyResult.from_json(json.loads(file.read_bytes()))

    def object(self, kind: str) -> Dataset:
        """An object that the node made of it, by the beginning of its file's name."""
        [file] = self.folder.glob(f"node/results/*/{kind}*.dcm")
        return dcmread(file)


@pytest.fixture(scope="module")
def hospital(
    orthanc_program: str, viewer_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Hospital]:
    folder = tmp_path_factory.mktemp("hospital")
    archive = LocalOrthanc(
        folder / "archive", http_port=next_free_port(), dicom_port=next_free_port(), stable_age_s=1
    )
    case = chest_study(
        Case(3, ("Lung nodule",)),
        patient=PATIENT,
        grid=centred_grid((10.0, 3.2, 3.2), (SLICES, SIDE, SIDE)),
    )
    files = []
    for index, image in enumerate(case.datasets()):
        files.append(folder / f"{index:02}.dcm")
        image.save_as(files[-1], enforce_file_format=True)
    few = write_chest(folder, "few", slices=4)
    (folder / "token").write_text(TOKEN)
    with archive:
        settings = Settings(
            data_folder=folder / "node",
            orthanc=archive.settings(),
            intake=IntakeSettings(poll_changes_s=0.2, settle_s=0.5),
            http=HttpSettings(token_file=folder / "token"),
            report=ReportSettings(objects=("sr", "sc", "kos", "seg")),
        )
        node = Node(settings, analyser=FullReport())
        node.start()
        try:
            send([*files, *few], archive)
            studies = (str(case.study.uid), study_uid("few"))
            eventually(lambda: states(node, studies) == ["reported", "refused"])
            headers = [dcmread(file) for file in files]
            store_refusal(Orthanc(archive.settings()), [dcmread(file) for file in few])
            with served(node, next_free_port()) as url:
                yield Hospital(url, *studies, headers, folder)
        finally:
            node.stop()


def states(node: Node, studies: Sequence[str]) -> list[str]:
    return [record.state for study in studies for record in node.ledger.recent(study_uid=study)]


def store_refusal(archive: Orthanc, few: Sequence[Dataset]) -> None:
    """What a refused study may get."""
    for example in (refusal_picture(few[0]), refusal_report(few, "Not evaluated: too_few_slices.")):
        archive.store(file_bytes(example))


@pytest.fixture(scope="module")
def browser(hospital: Hospital) -> Iterator[Browser]:
    """After the node, which is in this process."""
    with chromium() as browser:
        expect.set_options(timeout=1000 * PATIENCE_S)
        yield browser
        expect.set_options(timeout=5000)  # what it is by itself


@pytest.fixture(scope="module")
def first_visit(browser: Browser, hospital: Hospital) -> Iterator[Visit]:
    """The analysed study, opened once for several tests: what is loaded stays in the browser's memory."""
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    visit = Visit(page, hospital.url)
    visit.open(hospital.study)
    assert page.url == hospital.url + viewer_link(hospital.study)
    yield visit
    page.close()


def instance_number(hospital: Hospital, index: int) -> str:
    return f"I:{hospital.headers[index].InstanceNumber} "


def test_the_nodes_own_report_shows_each_probability_on_its_slice(
    first_visit: Visit, hospital: Hospital
) -> None:
    """Study, present and absent findings, all quantities; zero is a number."""
    visit = first_visit
    visit.show("AI report - DEMONSTRATION - NOT FOR DIAGNOSIS")
    expect(visit.text("Study - Probability: 96.25 %")).to_be_visible()
    expect(visit.slice_number).to_contain_text(instance_number(hospital, KEY))
    lines = [
        visit.text(words)
        for words in (
            "Study - Probability: 96.25 %",
            "Cardiomegaly - Probability: 12.50 %",
            "Emphysema - Probability: 0.00 %",
            "Lung volumes:",
            "Lung volume: 4210.50 mL",
            "Lung volume, left: 1980.25 mL",
            "Lung volume, right: 2230.25 mL",
            "Lung density:",
            "Mean lung density: -843.20 HU",
            "15th percentile of lung density: -912.00 HU",
            "Low and high attenuation:",
            "LAA-950 (share of the lungs below -950 HU): 2.50 %",
            "LAA-910 (share of the lungs below -910 HU): 9.75 %",
            "HAA (share of the lungs from -600 to -250 HU): 4.50 %",
        )
    ]
    for line in lines:
        expect(line).to_be_visible()
    boxes = [box for line in lines if (box := line.bounding_box()) is not None]
    for above, below in pairwise(boxes):
        assert above["y"] + above["height"] <= below["y"] + 2, "in the report's order, and legible"
    visit.picture("report")
    visit.nothing_wrong()


def test_a_located_finding_is_outlined_where_it_is_and_another_stands_on_its_slice(
    first_visit: Visit, hospital: Hospital
) -> None:
    visit = first_visit
    region = hospital.result.findings[0].region
    assert region is not None
    visit.next_measurement()
    expect(visit.text("Lung nodule - Probability: 87.34 %")).to_be_visible()
    expect(visit.text("Line: where the algorithm looked, no outline of a lesion")).to_be_visible()
    expect(visit.slice_number).to_contain_text(instance_number(hospital, region.slice.index))
    picture = visit.picture("outline")
    assert picture.share_of_outline(region.polygon) > 0.5
    assert picture.share_of_outline([(SIDE - column, row) for column, row in region.polygon]) < 0.2
    visit.next_measurement()
    expect(visit.text("Pleural effusion - Probability: 71.25 %")).to_be_visible()
    expect(visit.slice_number).to_contain_text(instance_number(hospital, EFFUSION))
    visit.picture("unlocated")
    visit.nothing_wrong()


def test_the_key_images_are_shown_as_they_are(first_visit: Visit, hospital: Hospital) -> None:
    visit = first_visit
    visit.show("AI key images - DEMONSTRATION - NOT FOR DIAGNOSIS")
    expect(visit.title).to_contain_text("AI key images")
    key_image = hospital.object("sc-1").pixel_array
    visit.until(lambda: visit.picture("key-image").likeness(key_image) > 0.95)
    visit.nothing_wrong()


def test_the_segmentation_is_painted_where_its_mask_is(first_visit: Visit, hospital: Hospital) -> None:
    visit = first_visit
    visit.show("AI attention - DEMONSTRATION - NOT FOR DIAGNOSIS")
    painted = hospital.object("seg").pixel_array.any(axis=0)
    rows, columns = np.nonzero(painted)
    inside = (float(columns.mean()) + 0.5, float(rows.mean()) + 0.5)
    mirrored = (SIDE - inside[0], inside[1])
    assert painted[int(inside[1]), int(inside[0])]
    assert not painted[int(mirrored[1]), int(mirrored[0])]
    visit.until(lambda: tint(visit.picture("segmentation").colour(*inside)) > 40)
    assert tint(visit.picture("segmentation").colour(*mirrored)) == 0
    visit.nothing_wrong()


def tint(colour: tuple[int, int, int]) -> int:
    """How far a colour is from grey."""
    return max(colour) - min(colour)


def test_the_selection_of_key_slices_is_in_the_archive_and_harms_nothing(
    first_visit: Visit, hospital: Hospital
) -> None:
    """OHIF 3.13.2 does not show key object selections."""
    uid = str(hospital.object("kos").SeriesInstanceUID)
    answer = first_visit.page.request.get(f"{hospital.url}/dicom-web/studies/{hospital.study}/series")
    assert uid in answer.text()
    first_visit.nothing_wrong()


def test_a_refused_study_says_so_in_a_picture_and_in_words(browser: Browser, hospital: Hospital) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    visit = Visit(page, hospital.url)
    visit.open_from_its_page(hospital.refused)
    visit.show("AI not evaluated")
    expect(visit.title).to_contain_text("AI not evaluated")
    # Below what the viewer writes in the corners, above its controls.
    places = {(128.0, 100.0): REFUSED_BAR, (128.0, 180.0): REFUSED_GREY}
    visit.until(
        lambda: (
            [visit.picture("refused").colour(*place, REFUSED_SIDE) for place in places]
            == list(places.values())
        )
    )
    visit.show("AI not evaluated (text)")
    expect(page.get_by_text("Not evaluated: too_few_slices.", exact=True)).to_be_visible()
    keep("refused-in-words", page.screenshot())
    visit.nothing_wrong()
    page.close()


@pytest.mark.parametrize("manufacturer", [MANUFACTURER, "Another", None])
def test_reports_of_others_stay_as_they_are(browser: Browser, manufacturer: str | None) -> None:
    """The script that names and moves, with a report of another manufacturer beside ours."""
    page = browser.new_page()
    page.evaluate(app_config())
    changed = page.evaluate(
        """manufacturer => {
            const point = { GraphicType: 'POINT', GraphicData: [5, 6] };
            point.ReferencedSOPSequence = { ReferencedSOPInstanceUID: 'slice' };
            const measurement = { TrackingIdentifier: 'Length', TrackingUniqueIdentifier: 'a' };
            measurement.coords = [point];
            measurement.labels = [{ label: 'Long axis', value: '3.00 mm' }];
            const instance = { Manufacturer: manufacturer ?? undefined, ContentSequence: [] };
            const slice = { SOPInstanceUID: 'slice', Rows: 100, Columns: 200 };
            const sets = [
                { SeriesInstanceUID: 'report', measurements: [measurement], instance },
                { SeriesInstanceUID: 'ct', instances: [slice] },
            ];
            window.services = { displaySetService: { getActiveDisplaySets: () => sets } };
            const added = window.config.customizationService.find(item => item.onBeforeSRAddMeasurement);
            const asked = { measurement, SeriesInstanceUID: 'report', StudyInstanceUID: 'study' };
            added.onBeforeSRAddMeasurement.$set(asked);
            // A second time, as where the study has two series.
            const { labels, coords } = added.onBeforeSRAddMeasurement.$set(asked);
            return [labels[0].label, coords[0].GraphicData];
        }""",
        manufacturer,
    )
    page.close()
    ours = manufacturer == MANUFACTURER
    assert changed == (["Length - Long axis", [4, 5, 4, 5]] if ours else ["Long axis", [5, 6]])
