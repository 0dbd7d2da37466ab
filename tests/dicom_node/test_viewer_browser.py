"""The viewer in a real browser, over a real archive and node: what a radiologist sees of a report.

The objects are the node's own: the demonstration bundle reads one synthetic chest, another study is refused.
Screenshots go to the folder that VIEWER_SCREENSHOTS names, where it is set.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Browser, expect
from pydicom import dcmread
from pydicom.dataset import Dataset
from scipy.ndimage import distance_transform_edt

from dicom_node.local_orthanc import LocalOrthanc
from dicom_node.node import Node
from dicom_node.orthanc import Orthanc
from dicom_node.settings import HttpSettings, IntakeSettings, ReportSettings, Settings
from dicom_node.viewer.config import viewer_link
from inference.study_result import Finding, StudyResult
from phantom.cases import Case
from phantom.grid import centred_grid
from phantom.identity import PatientIdentity
from phantom.studies import chest_study
from tests.dicom_node.chromium import chromium
from tests.dicom_node.conftest import eventually, next_free_port
from tests.dicom_node.http_server import served
from tests.dicom_node.place_withheld import PlaceWithheld
from tests.dicom_node.studies import send, study_uid, write_chest
from tests.dicom_node.viewer_objects import file_bytes, located_report
from tests.dicom_node.viewer_visit import PATIENCE_S, TOKEN, Visit, keep

PATIENT = PatientIdentity("Sichtbar^Person", "SEEN-0815", "O", None)
SIDE = 256
GRID = centred_grid((5.0, 1.5, 1.5), (64, SIDE, SIDE))
LOCATED, UNLOCATED = "Pleural effusion", "Cardiomegaly"
REPORT, KEY_IMAGES, ATTENTION, PAGES = 9000, 9001, 9002, 9005  # numbers of series
OF_ANOTHER = 9100
QUANTITIES = {
    "Lung volume": "Lung volume: {:.2f} mL",
    "Lung volume, left": "Lung volume, left: {:.2f} mL",
    "Lung volume, right": "Lung volume, right: {:.2f} mL",
    "Mean lung density": "Mean lung density: {:.2f} HU",
    "Perc15": "15th percentile of lung density: {:.2f} HU",
    "LAA-950": "LAA-950 (share of the lungs below -950 HU): {:.2f} %",
    "LAA-910": "LAA-910 (share of the lungs below -910 HU): {:.2f} %",
    "HAA": "HAA (share of the lungs from -600 to -250 HU): {:.2f} %",
}


@dataclass(frozen=True)
class Hospital:
    """A node that has analysed a study and refused another; `headers` are those of the first, feet up."""

    url: str
    node: Node
    study: str
    refused: str
    headers: Sequence[Dataset]

    @property
    def result(self) -> StudyResult:
        """The answer about the first study."""
        return self.node.result(self.node.ledger.recent(study_uid=self.study)[0].key)

    def finding(self, name: str) -> Finding:
        """One finding of that answer."""
        (found,) = (item for item in self.result.findings if item.name == name)
        return found

    def object(self, study: str, kind: str) -> Dataset:
        """The first object of a kind that the node made of a study."""
        key = self.node.ledger.recent(study_uid=study)[0].key
        return dcmread(next(item.path for item in self.node.ledger.objects.of(key) if item.kind == kind))

    def slice_text(self, index: int) -> str:
        """What the viewer writes of a slice that is shown."""
        return f"I:{self.headers[index].InstanceNumber} "


@pytest.fixture(scope="module")
def hospital(
    orthanc_program: str, viewer_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Hospital]:
    folder = tmp_path_factory.mktemp("hospital")
    archive = LocalOrthanc(
        folder / "archive", http_port=next_free_port(), dicom_port=next_free_port(), stable_age_s=1
    )
    case = chest_study(Case(1_200_002, (LOCATED, UNLOCATED)), patient=PATIENT, grid=GRID)
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
            report=ReportSettings(objects=("sr", "sc", "kos", "seg", "pdf"), refusals=("sr", "sc")),
        )
        node = Node(settings, analyser=PlaceWithheld(settings, UNLOCATED))
        node.start()
        try:
            send([*files, *few], archive)
            studies = (str(case.study.uid), study_uid("few"))
            eventually(lambda: states(node, studies) == ["reported", "refused"], timeout_s=120)
            headers = sorted(
                (dcmread(file, stop_before_pixels=True) for file in files),
                key=lambda header: header.ImagePositionPatient[2],
            )
            with served(node, next_free_port()) as url:
                yield Hospital(url, node, *studies, headers)
        finally:
            node.stop()


def states(node: Node, studies: Sequence[str]) -> list[str]:
    return [record.state for study in studies for record in node.ledger.recent(study_uid=study)]


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
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    visit = Visit(page, hospital.url)
    visit.open(hospital.study)
    assert page.url == hospital.url + viewer_link(hospital.study)
    yield visit
    context.close()


def line_of(finding: Finding) -> str:
    state = "present" if finding.present else "absent"
    return f"{finding.name} - Probability: {100 * finding.probability:.2f} %, {state}"


def test_the_report_opens_with_the_study_and_its_quantities(first_visit: Visit, hospital: Hospital) -> None:
    visit, result = first_visit, hospital.result
    visit.show(REPORT)
    expect(visit.text(f"Study - Probability: {100 * result.probability:.2f} %, present")).to_be_visible()
    expect(visit.slice_number).to_contain_text(hospital.slice_text(result.key_slices[0].index))
    assert {item.name for item in result.measurements} == set(QUANTITIES)
    for quantity in result.measurements:
        expect(visit.text(QUANTITIES[quantity.name].format(quantity.value))).to_be_visible()
    for kind in ("Lung volumes:", "Lung density:", "Low and high attenuation:"):
        expect(visit.text(kind)).to_be_visible()
    visit.picture("report")
    visit.nothing_wrong()


@pytest.mark.parametrize("size", [(1280, 800), (820, 560), (820, 420)])
def test_a_located_finding_is_outlined_where_it_is_and_its_label_can_be_read(
    first_visit: Visit, hospital: Hospital, size: tuple[int, int]
) -> None:
    """In a wide window, in a narrow one, and in one so low that the end of the list is left out."""
    visit, finding = first_visit, hospital.finding(LOCATED)
    assert finding.region is not None
    visit.page.set_viewport_size({"width": size[0], "height": size[1]})
    visit.show(REPORT)
    expect(visit.slice_number).to_contain_text(hospital.slice_text(finding.region.slice.index))
    label = visit.text(line_of(finding))
    expect(label).to_be_visible()
    expect(visit.text(re.compile("^Line: where the algorithm looked, no outline"))).to_be_visible()
    visit.until(visit.labels_are_whole_and_apart)
    assert visit.text("...").count() == (size == (820, 420))
    polygon = finding.region.polygon
    visit.until(lambda: visit.picture(f"outline-{size[0]}").share_of_outline(polygon, SIDE) > 0.9)
    picture = visit.picture(f"outline-{size[0]}")
    # Lines of text are of the same colour, and in a narrow window many.
    mirrored = [(SIDE - column, row) for column, row in polygon]
    assert picture.share_of_outline(mirrored, SIDE) < 0.6
    box = label.bounding_box()
    assert box is not None
    assert picture.share_with_rim(box) > 0.98
    visit.page.set_viewport_size({"width": 1280, "height": 800})
    visit.nothing_wrong()


def test_every_finding_is_reached_on_its_slice_the_present_before_the_absent(
    first_visit: Visit, hospital: Hospital
) -> None:
    """One is present without a place: it stands on its best slice, with nothing drawn there."""
    visit, result = first_visit, hospital.result
    visit.show(REPORT)
    assert hospital.finding(UNLOCATED).region is None
    present = [item for item in result.findings if item.present]
    absent = [item for item in result.findings if not item.present]
    assert {item.name for item in present} == {LOCATED, UNLOCATED}
    assert len(absent) == 4
    for finding in [
        *sorted(present, key=lambda item: item.danger, reverse=True),
        *sorted(absent, key=lambda item: item.probability, reverse=True),
    ]:
        visit.next_measurement()
        assert finding.best_slice is not None
        expect(visit.slice_number).to_contain_text(hospital.slice_text(finding.best_slice.index))
        expect(visit.text(line_of(finding))).to_be_visible()
        if finding.name == UNLOCATED:
            visit.picture("unlocated")
            outlines = visit.page.locator("svg.svg-layer polyline").count()
            on_slice = [item for item in present if item.region and item.best_slice == finding.best_slice]
            assert outlines == len(on_slice)
    visit.nothing_wrong()


def test_the_key_images_are_shown_as_they_are(first_visit: Visit, hospital: Hospital) -> None:
    visit = first_visit
    visit.show(KEY_IMAGES)
    expect(visit.title).to_contain_text("AI key images")
    key_image = hospital.object(hospital.study, "sc").pixel_array
    visit.until(lambda: visit.picture("key-image").likeness(key_image) > 0.95)
    visit.nothing_wrong()


def test_the_segmentation_is_painted_where_its_mask_is(first_visit: Visit, hospital: Hospital) -> None:
    visit = first_visit
    visit.show(ATTENTION)
    expect(visit.title).to_contain_text("CT Chest")
    inside = outside = (0.0, 0.0)

    def is_painted() -> bool:
        nonlocal inside, outside
        mask = attention_on(hospital, visit.slice_number.inner_text())
        inside, outside = deepest(mask), deepest(~mask)
        picture = visit.picture("segmentation")
        return tint(picture.colour(*inside, SIDE)) > 40 and tint(picture.colour(*outside, SIDE)) == 0

    visit.until(is_painted)
    visit.nothing_wrong()


def attention_on(hospital: Hospital, slice_text: str) -> NDArray[np.bool_]:
    """The segmentation's mask of the slice that is shown, [row, column]."""
    number = int(slice_text.split(maxsplit=1)[0].removeprefix("I:"))
    (uid,) = (header.SOPInstanceUID for header in hospital.headers if header.InstanceNumber == number)
    segmentation = hospital.object(hospital.study, "seg")
    (mask,) = (
        frame
        for frame, groups in zip(
            segmentation.pixel_array, segmentation.PerFrameFunctionalGroupsSequence, strict=True
        )
        if groups.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID == uid
    )
    return np.asarray(mask > 0)


def deepest(mask: NDArray[np.bool_]) -> tuple[float, float]:
    """Column and row of the point farthest from the mask's edge, as `ImageOnScreen` counts."""
    depth = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    assert depth.max() > 10
    return float(column) + 0.5, float(row) + 0.5


def tint(colour: tuple[int, int, int]) -> int:
    """How far a colour is from grey."""
    return max(colour) - min(colour)


def test_the_pages_of_the_report_are_shown(first_visit: Visit) -> None:
    """By the browser itself: white pages on grey."""
    visit = first_visit
    visit.show(PAGES)
    frame = visit.page.locator("object[type='application/pdf'][data^='blob:']")
    expect(frame).to_be_visible()
    visit.until(lambda: visit.share_of_white(frame) > 0.2)
    keep("pages", visit.page.screenshot())
    visit.nothing_wrong()


def test_the_selection_of_key_slices_is_in_the_archive_and_harms_nothing(
    first_visit: Visit, hospital: Hospital
) -> None:
    """OHIF 3.13.2 does not show key object selections."""
    uid = str(hospital.object(hospital.study, "kos").SeriesInstanceUID)
    answer = first_visit.page.request.get(f"{hospital.url}/dicom-web/studies/{hospital.study}/series")
    assert uid in answer.text()
    first_visit.nothing_wrong()


def test_a_refused_study_says_so_in_a_picture_and_in_words(browser: Browser, hospital: Hospital) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    visit = Visit(page, hospital.url)
    visit.open_from_its_page(hospital.refused)
    visit.show(KEY_IMAGES)
    expect(visit.title).to_contain_text("AI not evaluated")
    picture = hospital.object(hospital.refused, "sc").pixel_array
    visit.until(lambda: visit.picture("refused").likeness(picture) > 0.9)
    visit.show(REPORT)
    (record,) = hospital.node.ledger.recent(study_uid=hospital.refused)
    assert record.code == "too_few_slices"
    for words in ("Not evaluated by the AI", record.code, record.sentence):
        expect(page.get_by_text(words).last).to_be_visible()
    keep("refused-in-words", page.screenshot())
    visit.nothing_wrong()
    page.close()


def test_reports_of_others_stay_as_they_are(first_visit: Visit, hospital: Hospital) -> None:
    """Beside ours, for one who has signed in before."""
    other = located_report(
        hospital.headers, 20, [(90.0, 90.0), (120.0, 90.0), (105.0, 120.0)], 12.345, manufacturer="Another"
    )
    Orthanc(hospital.node.settings.orthanc).store(file_bytes(other))
    page = first_visit.page.context.new_page()
    visit = Visit(page, hospital.url)
    page.goto(hospital.url + viewer_link(hospital.study))
    visit.until_shown()
    visit.show(OF_ANOTHER)
    expect(visit.text("Probability of diagnosis: 12.35 %")).to_be_visible()
    expect(visit.slice_number).to_contain_text(hospital.slice_text(20))
    assert visit.page.get_by_text("where the algorithm looked").count() == 0
    visit.nothing_wrong()
    page.close()
