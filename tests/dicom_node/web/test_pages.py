"""The pages over HTTP: what they say, what they never say, who may press their buttons."""

from __future__ import annotations

import html
import io
import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import httpx
import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread
from pydicom.uid import EncapsulatedPDFStorage
from pypdf import PdfReader
from sqlalchemy.exc import OperationalError

from dicom_node.cstore import Peer, send_objects
from dicom_node.ledger_records import ObjectRecord, WorkRecord
from dicom_node.local_orthanc import LocalOrthanc
from dicom_node.node import Node
from dicom_node.orthanc_connection import OrthancConnection
from dicom_node.rejection_notes import RejectionNote
from dicom_node.settings import HttpSettings, ReportSettings, WebSettings
from dicom_node.web.figures import short_uid
from dicom_node.web.words import Words
from inference.study_result import StudyResult
from tests.dicom_node.conftest import Pacs, Site, eventually, next_free_port
from tests.dicom_node.http_server import served
from tests.dicom_node.studies import SLICES, send, study_uid, write_chest, write_scout
from tests.inference.enhanced import as_enhanced

MARKUP = "<script>alert(1)</script>^<b>Bold</b>"
PATIENT_ID = '"><img src=x onerror=alert(2)>'
ACCESSION = "A<i>77"
OWN = {"Sec-Fetch-Site": "same-origin"}
LOOKED = ((10.0, 20.0), (40.0, 20.0), (40.0, 50.0), (10.0, 50.0), (10.0, 20.0))  # of the pathological study


@dataclass
class PagesSite:
    """A node with a finished, a refused and an uploaded study; its address; the PACS that it delivers to."""

    node: Node
    url: str
    pacs: Pacs
    good: str
    refused: str

    def get(self, path: str, **headers: str) -> httpx.Response:
        return httpx.get(self.url + path, headers=headers, timeout=30)

    def post(self, path: str, data: dict[str, str] | None = None, **headers: str) -> httpx.Response:
        return httpx.post(self.url + path, data=data or {}, headers=headers or OWN, timeout=30)

    def newest(self, name: str) -> WorkRecord:
        return self.node.ledger.recent(1, study_uid(name))[0]


@pytest.fixture(scope="module")
def pages(orthanc_program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PagesSite]:
    folder = tmp_path_factory.mktemp("pages")
    archive = LocalOrthanc(
        folder / "archive",
        http_port=next_free_port(),
        dicom_port=next_free_port(),
        aet="DICOM-NODE",
        stable_age_s=1,
    )
    pacs = Pacs()
    site = Site(archive, folder / "node")
    site.analyser.polygon = LOOKED
    archive.start()
    pacs.start()
    try:
        wanted = ReportSettings(objects=("sr", "sc", "kos", "pdf"))
        node = site.start(pacs.destination(), web=WebSettings(show_patient=True), report=wanted)
        send(_marked_up([*write_chest(folder, "good"), *write_scout(folder, "good")]), archive)
        send(write_scout(folder, "scout"), archive)
        good, refused = (_ended(node, name) for name in ("good", "scout"))
        eventually(lambda: [item.state for item in node.ledger.known(good).deliveries] == ["delivered"])
        with served(node, next_free_port()) as url:
            yield PagesSite(node, url, pacs, good, refused)
    finally:
        site.stop()
        pacs.stop()
        archive.stop(timeout_s=0.2)


def _marked_up(files: list[Path]) -> list[Path]:
    for file in files:
        dataset = dcmread(file)
        dataset.PatientName, dataset.PatientID, dataset.AccessionNumber = MARKUP, PATIENT_ID, ACCESSION
        dataset.save_as(file)
    return files


def _ended(node: Node, name: str) -> str:
    def records() -> list[WorkRecord]:
        return node.ledger.recent(1, study_uid(name))

    eventually(lambda: records() and records()[0].ended)
    return records()[0].key


def _in_state(node: Node, state: str) -> list[str]:
    return [record.key for record in node.ledger.recent() if record.state == state]


class _Elements(HTMLParser):
    """Every element with its attributes, and all text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_list_says_at_a_glance_what_became_of_every_study(pages: PagesSite) -> None:
    text = _Elements(pages.get("/").text).text
    for words in (
        "Reported",
        "90.0",
        "Pathological",
        "Lung nodule",
        "Refused",
        "1 of 1",
        "not for diagnosis",
    ):
        assert words in text
    assert "No CT series that can be analysed" in text
    refused = pages.get("/?group=refused").text
    assert f"/work/{pages.refused}" in refused
    assert f"/work/{pages.good}" not in refused
    assert f"/work/{pages.good}" in pages.get("/?verdict=pathological").text
    assert f"/work/{pages.good}" not in pages.get("/?verdict=normal").text
    assert "No study matches" in pages.get("/?since=2001-01-01&until=2001-01-02").text
    assert pages.get("/?group=everything").status_code == 400
    # A page beyond the last one is not an empty list.
    beyond = pages.get("/?page=99")
    assert (beyond.status_code, beyond.headers["location"]) == (303, "/")


def test_the_list_is_sent_again_only_when_it_changes(pages: PagesSite) -> None:
    live = next(found["hx-get"] for _, found in _Elements(pages.get("/").text).found if "hx-get" in found)
    assert live is not None
    assert pages.get(live, **{"HX-Request": "true"}).status_code == 204
    changed = pages.get(live[:-4] + "0000", **{"HX-Request": "true"})
    assert changed.status_code == 200
    assert changed.text.lstrip().startswith('<div id="list"')


def test_search_by_number_leaves_no_number_in_an_address(pages: PagesSite) -> None:
    for wanted in (ACCESSION, PATIENT_ID, study_uid("good"), study_uid("good")[5:]):
        found = pages.post("/find", {"text": f" {wanted} "})
        assert (found.status_code, found.headers["location"]) == (303, f"/study/{study_uid('good')}")
    newest = pages.get(f"/study/{study_uid('good')}")
    assert newest.headers["location"] == f"/work/{pages.newest('good').key}"
    for wanted in ("A*", "?<i>77", "A<i>77\\*", "nobody", "%"):
        nothing = pages.post("/find", {"text": wanted})
        assert nothing.status_code == 200
        assert "No study matches" in nothing.text
    several = pages.post("/find", {"text": "2.25."})
    assert several.headers["location"] == "/?uid=2.25."
    assert pages.post("/find", {"text": ""}).headers["location"] == "/"


def test_text_of_tags_is_text_wherever_it_is_shown(pages: PagesSite) -> None:
    for path in ("/", f"/work/{pages.good}"):
        page = pages.get(path).text
        assert MARKUP.replace("^", " ") in _Elements(page).text
        assert PATIENT_ID in _Elements(page).text
        for raw in ("<script>alert", "<b>Bold", "<img src=x", "<i>77"):
            assert raw not in page


def test_pages_hold_no_script_and_no_style_and_name_no_other_host(pages: PagesSite) -> None:
    for path in ("/", f"/work/{pages.good}", f"/work/{pages.refused}", "/system", "/work/nothing"):
        response = pages.get(path)
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["cache-control"] == "no-store"
        for tag, attributes in _Elements(response.text).found:
            assert "style" not in attributes
            assert not [name for name in attributes if name.startswith("on")]
            if tag == "script":
                assert attributes["src"].startswith("/web/")  # type: ignore[union-attr]
            for name in ("src", "href", "action", "hx-get", "hx-post"):
                assert (attributes.get(name) or "/").startswith(("/", "?", "#")), (tag, attributes)


def test_what_pages_need_is_served_for_ever_under_its_digest(pages: PagesSite) -> None:
    addresses = re.findall(r'"(/web/[^"]+)"', pages.get("/").text)
    style = pages.get(next(item for item in addresses if item.endswith(".css")))
    for address in {*addresses, *re.findall(r'url\("([^"]+)"\)', style.text)}:
        response = pages.get(address)
        assert response.status_code == 200
        assert "immutable" in response.headers["cache-control"]
    assert pages.get("/web/000000000000/pages.css").status_code == 404


def test_a_finished_study_in_full(pages: PagesSite) -> None:
    text = _Elements(pages.get(f"/work/{pages.good}").text).text
    for words in (
        "90.0", "Operating point 50.0 %", "Most dangerous: Lung nodule", "left", f"slice {SLICES // 2 + 1}",
        "Structured report", "Key image", "store in archive", "deliver to pacs", "Delivered", "Tries: 1",
        "A localizer (scout).", "stand-in 1.0.0", "not for diagnosis", study_uid("good"), pages.good,
    ):  # fmt: skip
        assert words in text, words
    viewer = f"/viewer?StudyInstanceUIDs={study_uid('good')}"
    assert viewer in [
        found.get("href") for _, found in _Elements(pages.get(f"/work/{pages.good}").text).found
    ]


def test_a_refused_study_says_its_code_its_sentence_and_what_to_do(pages: PagesSite) -> None:
    text = _Elements(pages.get(f"/work/{pages.refused}").text).text
    record = pages.node.ledger.known(pages.refused)
    assert record.sentence
    for words in ("no_ct_series", record.sentence, record.remedy or "?", "What to do", "Nothing to send"):
        assert words in text


def test_slices_and_key_images_are_pictures(pages: PagesSite) -> None:
    lung = pages.get(f"/work/{pages.good}/slices/3.png?window=lung")
    assert lung.headers["content-type"] == "image/png"
    assert lung.headers["cache-control"] == "no-store"
    bone = pages.get(f"/work/{pages.good}/slices/3.png?window=bone")
    own = pages.get(f"/work/{pages.good}/slices/3.png?window=own&centre=400&width=1800")
    assert bone.content == own.content != lung.content
    assert Image.open(io.BytesIO(lung.content)).size == (512, 512)
    key_image = Image.open(io.BytesIO(pages.get(f"/work/{pages.good}/objects/1.png").content))
    stored = dcmread(pages.node.objects(pages.good)[1])
    assert np.array_equal(np.asarray(key_image), stored.pixel_array)
    for path, status in [
        (f"slices/{SLICES + 1}.png", 404), ("slices/0.png", 404), ("slices/1.png?width=0", 400),
        ("slices/x.png", 400), ("objects/0.png", 404), ("objects/9.dcm", 404), ("objects/0.pdf", 404),
    ]:  # fmt: skip
        assert pages.get(f"/work/{pages.good}/{path}").status_code == status, path
    assert pages.get(f"/work/{pages.refused}/slices/1.png").status_code == 404
    assert pages.get(f"/work/{'0' * 64}/slices/1.png").status_code == 404


def test_where_the_algorithm_looked_is_outlined_unless_one_does_not_want_it(pages: PagesSite) -> None:
    best = SLICES // 2 + 1
    note = "Amber: where the algorithm looked for Lung nodule; no outline of a lesion"
    page = _Elements(pages.get(f"/work/{pages.good}").text)
    assert note in page.text
    form = next(found for _, found in page.found if found.get("id") == "slicer")
    assert json.loads(form["data-outlined"] or "") == {str(best): "Lung nodule"}
    shown = next(found for _, found in page.found if found.get("id") == "slice-image")
    assert f"/slices/{best}.png" in (shown["src"] or "")
    assert "&outlines=true" in (shown["src"] or "")
    for without in (f"?slice={best}&outlines=false", f"?slice={best - 1}"):
        page = _Elements(pages.get(f"/work/{pages.good}{without}").text)
        assert note not in page.text
        shown = next(found for _, found in page.found if found.get("id") == "slice-image")
        assert "outlines" not in (shown["src"] or "")

    def picture(number: int, outlines: str) -> NDArray[np.int16]:
        answer = pages.get(f"/work/{pages.good}/slices/{number}.png?window=bone{outlines}")
        return np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB")).astype(np.int16)

    drawn, plain = picture(best, "&outlines=true"), picture(best, "")
    changed = (drawn != plain).any(axis=2)
    # 64 pixels are drawn as 512, so the square of the test has its corners at 8 times its numbers.
    rows, columns = np.nonzero(changed)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == pytest.approx((160, 400, 80, 320), abs=3)
    assert not changed[170:390, 90:310].any()
    red, green, blue = drawn[160, 200]
    assert red > green > blue + 100
    assert np.array_equal(picture(best - 1, "&outlines=true"), picture(best - 1, ""))


def test_downloads_are_the_stored_bytes(pages: PagesSite) -> None:
    stored = pages.node.objects(pages.good)
    for number, path in enumerate(stored):
        download = pages.get(f"/work/{pages.good}/objects/{number}.dcm")
        assert download.content == path.read_bytes()
        assert download.headers["content-disposition"].startswith("attachment; filename=")
    with zipfile.ZipFile(io.BytesIO(pages.get(f"/work/{pages.good}/objects.zip").content)) as archive:
        assert archive.namelist() == [path.name for path in stored]
    result = json.loads(pages.get(f"/work/{pages.good}/result.json").content)
    assert StudyResult.from_json(result) == pages.node.result(pages.good)
    menu = pages.get(f"/work/{pages.good}").text
    kinds = [item.kind for item in pages.node.ledger.objects.of(pages.good)]
    assert set(kinds) == {"sr", "sc", "kos", "pdf"}
    for number, kind in enumerate(kinds):
        assert f"/work/{pages.good}/objects/{number}.dcm" in menu
        assert Words("en").known("object", kind) in menu
    document = pages.get(f"/work/{pages.good}/objects/{kinds.index('pdf')}.pdf")
    assert document.headers["content-type"] == "application/pdf"
    assert document.content.startswith(b"%PDF-")
    assert pages.get(f"/work/{pages.refused}/objects.zip").status_code == 404
    assert pages.get(f"/work/{pages.refused}/result.json").status_code == 404


def test_a_page_of_another_site_presses_no_button(pages: PagesSite) -> None:
    before = len(pages.pacs.received)
    strangers: list[dict[str, str]] = [
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"User-Agent": "something without a word of where it comes from"},
    ]
    for headers in strangers:
        for path in ("rerun", "send", "try-now"):
            response = pages.post(f"/work/{pages.good}/{path}", {"destination": "pacs"}, **headers)
            assert response.status_code == 403
            assert "did not come from a page of the node" in response.text
        assert pages.post("/system/echo", {"destination": "pacs"}, **headers).status_code == 403
        assert pages.post("/find", {"text": ACCESSION}, **headers).status_code == 403
    assert pages.newest("good").key == pages.good
    assert len(pages.pacs.received) == before


def test_send_again_sends_the_same_bytes(pages: PagesSite) -> None:
    first = list(pages.pacs.received)
    response = pages.post(f"/work/{pages.good}/send", {"destination": "pacs"}, Origin=pages.url)
    assert (response.status_code, response.headers["location"]) == (303, f"/work/{pages.good}#deliveries")
    eventually(lambda: len(pages.pacs.received) == 2 * len(first))
    assert sorted(pages.pacs.received[len(first) :]) == sorted(first)
    for data in ({"destination": "elsewhere"}, {"destination": "<script>"}):
        assert pages.post(f"/work/{pages.good}/send", data).status_code == 404
    assert pages.post(f"/work/{pages.refused}/send", {"destination": "pacs"}).status_code == 404
    assert pages.post(f"/work/{pages.good}/send").status_code == 400


def test_the_test_of_a_destination_is_an_association(pages: PagesSite) -> None:
    fragment = pages.post("/system/echo", {"destination": "pacs"}, **OWN, **{"HX-Request": "true"})
    assert "<html" not in fragment.text
    assert "Answered in" in fragment.text
    assert "Answered in" in pages.post("/system/echo", {"destination": "pacs"}).text
    pages.pacs.stop()
    try:
        assert "cannot be reached" in pages.post("/system/echo", {"destination": "pacs"}).text
    finally:
        pages.pacs.start()
    assert pages.post("/system/echo", {"destination": "elsewhere"}).status_code == 404


def test_what_waits_for_a_destination_is_kept_up_to_date(pages: PagesSite) -> None:
    delivered = pages.node.ledger.deliveries.get(pages.good, "pacs")
    pages.node.ledger.deliveries.failing(pages.good, "pacs", "PACS cannot be reached", 600)
    try:
        for path, apart in (("/system", False), ("/live/system", True)):
            page = _Elements(pages.get(path).text)
            due = next(found for _, found in page.found if found.get("id") == "due-1")
            assert ("hx-swap-oob" in due) == apart
            for words in (
                "Waiting: 1",
                "of them failing: 1",
                "PACS cannot be reached",
                "next try",
                f"pacs {short_uid(study_uid('good'))}",
            ):
                assert words in " ".join(page.text.split()), words
    finally:
        pages.node.ledger.deliveries.delivered(pages.good, "pacs", delivered.objects)


def test_the_system_page_says_how_the_node_is(pages: PagesSite) -> None:
    pages.node.ledger.workers.beat("node-1")
    for path in ("/system", "/live/system"):
        text = _Elements(pages.get(path).text).text
        for words in (
            "Ready",
            "node-1",
            "stand-in 1.0.0",
            "float32",
            "used",
            "Answers, version",
            "DICOM-NODE",
        ):
            assert words in text, words
    assert f"127.0.0.1:{pages.pacs.port}" in pages.get("/system").text


def test_an_upload_for_an_answer_only_has_no_images_and_no_buttons(pages: PagesSite) -> None:
    name = "<img src=x onerror=alert(1)>"
    volume = nibabel.Nifti1Image(np.zeros((8, 8, 8), np.int16), np.eye(4))
    files = {"file": (f"{name}.nii", volume.to_bytes())}
    uid = httpx.post(f"{pages.url}/predict_nifti", files=files, timeout=60).json()["study_uid"]
    key = pages.node.ledger.recent(1, uid)[0].key
    page = pages.get(f"/work/{key}").text
    assert "<img src=x" not in page
    assert "were not kept" in page
    assert "nothing is delivered" in page
    for button in ("rerun", "send", "viewer?"):
        assert button not in page
    assert pages.post(f"/work/{key}/rerun").status_code == 404
    assert pages.get(f"/study/{uid}").headers["location"] == f"/work/{key}"


def test_a_rejection_is_seen_in_the_list_and_on_the_page(pages: PagesSite) -> None:
    mark = '<span class="tag">rejected</span>'
    assert mark not in pages.get("/").text
    [report, *_] = pages.node.ledger.objects.of(pages.good)
    note = RejectionNote("2.25.113001", "113001", frozenset({report.sop_instance_uid}))
    pages.node.ledger.feedback.record(study_uid("good"), [note], ())
    listed = pages.get("/?group=rejected").text
    assert mark in listed
    assert "1–1 of 1" in listed
    assert "Rejected for quality reasons" in pages.get(f"/work/{pages.good}").text


def test_a_ledger_that_cannot_be_read_is_said_in_its_own_words(
    pages: PagesSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise OperationalError("SELECT 'Geheim'", {}, Exception("unable to open database file"))

    monkeypatch.setattr(pages.node.ledger, "work", away)
    response = pages.get(f"/work/{pages.good}")
    assert response.status_code == 503
    assert "The ledger cannot be read: unable to open database file" in response.text
    assert "Geheim" not in response.text


def test_slices_that_are_frames_are_shown(
    pages: PagesSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dicom_node.slice_pixels.FRAMES_BESIDE", 2)  # so that some are not in memory
    joined = as_enhanced([dcmread(file) for file in write_chest(tmp_path, "frames")], uid="2.25.4711")
    joined.save_as(tmp_path / "enhanced.dcm", enforce_file_format=True)
    archive = pages.node.settings.orthanc
    peer = Peer(archive.dicom_host, archive.dicom_port, archive.aet)
    assert all(item.stored for item in send_objects(peer, [tmp_path / "enhanced.dcm"], calling_aet="CT"))
    key = _ended(pages.node, "frames")
    page = _Elements(pages.get(f"/work/{key}").text)
    slider = next(found for _, found in page.found if found.get("id") == "slice")
    assert (slider["max"], slider["value"]) == (str(SLICES), "1")
    pictures = [pages.get(f"/work/{key}/slices/{number}.png?window=lung") for number in (1, SLICES)]
    assert [picture.status_code for picture in pictures] == [200, 200]
    assert pictures[0].content != pictures[1].content
    # Removed from the archive, the answer stays; what needs the images says so.
    archived = pages.node.ledger.known(key).orthanc_id
    OrthancConnection(pages.node.settings.orthanc).json("DELETE", f"/studies/{archived}")
    assert pages.get(f"/work/{key}").status_code == 200
    for gone in (pages.post(f"/work/{key}/rerun"), pages.get(f"/work/{key}/slices/12.png")):
        assert gone.status_code == 404
        assert "The archive no longer has these images" in gone.text


def test_a_fault_is_a_page_with_an_incident_and_nothing_of_its_text(
    pages: PagesSite, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        raise RuntimeError("Geheim^Niemand")

    monkeypatch.setattr(pages.node.ledger.studies, "counts", broken)
    response = pages.get("/")
    assert response.status_code == 500
    incident = re.search(r"incident ([0-9a-f]{12})", response.text)
    assert incident is not None
    assert incident[1] in [getattr(record, "incident", "") for record in caplog.records]
    assert "Geheim" not in response.text


def test_analyse_again_is_one_more_attempt(pages: PagesSite) -> None:
    response = pages.post(f"/work/{pages.good}/rerun")
    assert response.status_code == 303
    key = response.headers["location"].removeprefix("/work/")
    assert key != pages.good
    assert pages.node.ledger.known(key).attempt == 1
    eventually(lambda: pages.node.ledger.known(key).state == "reported")
    again = pages.get(f"/work/{key}").text
    assert "Attempt 2" in again
    assert f"/work/{pages.good}" in again  # earlier work
    first = pages.get(f"/work/{pages.good}").text
    assert "There is newer work" in first
    assert "Earlier work" not in first
    assert "worked on 2 times" in pages.get("/").text


def test_a_report_that_is_a_pdf_is_given_as_a_pdf(pages: PagesSite, tmp_path: Path) -> None:
    content = b"%PDF-1.7 of odd length" + b"\x00"
    dataset = dcmread(pages.node.objects(pages.good)[0])
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = EncapsulatedPDFStorage
    dataset.EncapsulatedDocument, dataset.EncapsulatedDocumentLength = content, len(content) - 1
    dataset.save_as(tmp_path / "report.dcm")
    uid = "2.25.77"
    record = ObjectRecord(
        uid, EncapsulatedPDFStorage, uid, study_uid("good"), "pdf", 50, tmp_path / "report.dcm"
    )
    pages.node.ledger.objects.add(pages.good, [record])
    assert f"/work/{pages.good}/objects/50.pdf" in pages.get(f"/work/{pages.good}").text
    given = pages.get(f"/work/{pages.good}/objects/50.pdf")
    assert given.headers["content-type"] == "application/pdf"
    assert given.content == content[:-1]
    assert pages.get(f"/work/{pages.good}/objects/50.png").status_code == 404


def test_what_goes_on_is_followed_until_it_ends(site: Site, tmp_path: Path) -> None:
    node = site.start()
    site.analyser.gate.clear()  # a start opens it
    with served(node, next_free_port()) as url:
        empty = httpx.get(url).text
        assert "No studies yet" in empty
        followed = re.search(r'hx-get="([^"]+)"', empty)
        assert followed is not None
        send(write_chest(tmp_path, "a"), site.archive)
        eventually(lambda: _in_state(node, "analysing"))
        key = _in_state(node, "analysing")[0]
        part = httpx.get(url + followed[1]).text  # the list in place of the words that there is none
        assert key in part
        assert "No studies yet" not in part
        assert "not yet" in part  # delivered
        page = httpx.get(f"{url}/work/{key}").text
        assert "Analysing" in page
        live = re.search(r'hx-get="([^"]+)"', page)
        assert live is not None
        part = httpx.get(url + live[1][:-4] + "0000")
        assert 'id="stages"' in part.text
        assert "<html" not in part.text
        site.analyser.gate.set()
        eventually(lambda: node.ledger.known(key).ended)
        ended = httpx.get(url + live[1])
        assert (ended.status_code, ended.headers["hx-refresh"]) == (204, "true")
        page = httpx.get(f"{url}/work/{key}").text
        assert "hx-get" not in page
        # Where no setting makes a PDF, it is made for who asks.
        assert f"/work/{key}/report.pdf" in page
        document = httpx.get(f"{url}/work/{key}/report.pdf", timeout=60)
        assert document.headers["content-type"] == "application/pdf"
        text = "".join(page.extract_text() for page in PdfReader(io.BytesIO(document.content)).pages)
        assert "Lung nodule" in text
        # A person who makes room on the disk takes some objects, and leaves others.
        taken, *left = node.objects(key)
        taken.unlink()
        page = httpx.get(f"{url}/work/{key}").text
        assert "/objects/0.dcm" not in page
        assert "/objects/1.dcm" in page
        with zipfile.ZipFile(io.BytesIO(httpx.get(f"{url}/work/{key}/objects.zip").content)) as archive:
            assert archive.namelist() == [path.name for path in left]
        # A person who makes room on the disk leaves a study without its answer, and a page that says so.
        node.folder.result_file(key).unlink()
        assert "no longer in the data folder" in httpx.get(f"{url}/work/{key}").text
        assert httpx.get(f"{url}/work/{key}/slices/1.png").status_code == 404
        assert httpx.get(f"{url}/work/{key}/report.pdf").status_code == 404


def test_a_failing_study_says_what_fails_and_is_tried_now(site: Site, tmp_path: Path) -> None:
    site.analyser.faults.append(RuntimeError("Geheim^Niemand"))
    worker = site.settings().worker.model_copy(update={"retry_first_s": 600.0, "retry_longest_s": 900.0})
    node = site.start(worker=worker)
    with served(node, next_free_port()) as url:
        send(write_chest(tmp_path, "a"), site.archive)
        eventually(lambda: _in_state(node, "failing"))
        key = _in_state(node, "failing")[0]
        page = httpx.get(f"{url}/work/{key}").text
        assert "RuntimeError at " in page
        assert "Next try" in page
        assert "Geheim" not in page
        assert "RuntimeError at " in httpx.get(f"{url}/system").text
        assert httpx.post(f"{url}/work/{key}/try-now", headers=OWN).status_code == 303
        eventually(lambda: node.ledger.known(key).state == "reported")


NAMES_ON_A_RUSSIAN_PAGE = {
    "dicom", "node", "NODE", "DICOM", "Apache", "JSON", "ZIP", "stand", "torch", "cpu", "float", "Page",
    "Down", "PDF", "Orthanc", "ORTHANC", "CVE", "destinations",
}  # fmt: skip
"""Names of products, formats, keys and a setting; "stand-in" is the bundle."""


def _latin_words(page: str) -> set[str]:
    """Words in Latin letters that a page shows and does not mark as of another language."""
    body = page.partition("<body>")[2]
    for hidden in (r'<(span) lang="en">.*?</span>', r'<(\w+) class="uid[^>]*>.*?</\1>', r"<code>.*?</code>"):
        body = re.sub(hidden, " ", body, flags=re.DOTALL)
    return set(re.findall(r"[A-Za-z]{3,}", html.unescape(re.sub(r"<[^>]*>", " ", body))))


def test_a_token_is_asked_for_once_and_patients_are_nowhere(site: Site, tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("s3cret\n")
    site.start(http=HttpSettings(token_file=secret), web=WebSettings(language="ru"))
    send(write_chest(tmp_path, "a"), site.archive)
    node = site._node
    assert node is not None
    key = _ended(node, "a")
    with served(node, next_free_port()) as url, httpx.Client(base_url=url, headers=OWN) as browser:
        away = browser.get(f"/work/{key}")
        assert (away.status_code, away.headers["location"]) == (303, f"/sign-in?next=/work/{key}")
        assert browser.get("/?group=refused").headers["location"] == "/sign-in?next=/%3Fgroup%3Drefused"
        assert browser.get("/live/system", headers={"HX-Request": "true"}).status_code == 401
        assert browser.post(f"/work/{key}/rerun").headers["location"] == "/sign-in?next=/"
        assert "Токен узла" in browser.get("/sign-in").text
        wrong = browser.post("/sign-in", data={"token": "guess"})
        assert (wrong.status_code, "set-cookie" in wrong.headers) == (403, False)
        for elsewhere in ("https://evil.example", "//evil.example", "/\\evil.example", "/\n/evil"):
            signed_in = browser.post("/sign-in", data={"token": "s3cret", "next": elsewhere})
            assert signed_in.headers["location"] == "/"
        signed_in = browser.post("/sign-in", data={"token": "s3cret", "next": f"/work/{key}"})
        assert signed_in.headers["location"] == f"/work/{key}"
        cookie = signed_in.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=lax" in cookie
        for path in ("/", f"/work/{key}", "/system"):
            page = browser.get(path)
            assert page.status_code == 200
            assert 'lang="ru"' in page.text
            for word in ("Geheim", "Niemand", "SECRET-4711"):
                assert word not in page.text
            assert _latin_words(page.text) <= NAMES_ON_A_RUSSIAN_PAGE, path
        assert "Узел в лёгком" in browser.get(f"/work/{key}").text
        # The session opens the rest too, but from our own pages only where something is changed.
        assert browser.get("/studies").status_code == 200
        foreign = {"Sec-Fetch-Site": "cross-site"}
        assert browser.post("/predict", files={"file": ("a.zip", b"PK")}, headers=foreign).status_code == 401
        assert browser.post("/sign-out").headers["location"] == "/sign-in"
        assert browser.get("/").status_code == 303
        assert httpx.get(url, headers={"Authorization": "Bearer s3cret"}).status_code == 200


def test_pages_without_an_archive_say_so(site: Site, tmp_path: Path) -> None:
    node = site.start(web=WebSettings(show_patient=True))
    send(write_chest(tmp_path, "a"), site.archive)
    key = _ended(node, "a")
    with served(node, next_free_port()) as url:
        site.archive.stop(timeout_s=0.2)
        eventually(lambda: not node.health().archive_reachable)
        for path in ("/", f"/work/{key}", "/system"):
            page = httpx.get(url + path)
            assert page.status_code == 200
            assert "The archive does not answer" in page.text
        assert "not available" in httpx.get(url).text
        assert httpx.get(f"{url}/work/{key}/slices/1.png").status_code == 503
        assert httpx.post(f"{url}/work/{key}/rerun", headers=OWN).status_code == 503
        assert httpx.post(f"{url}/find", data={"text": "4711"}, headers=OWN).status_code == 503
