"""Nothing of a patient where it does not belong: log, answers, ledger, store of steps, results, leftovers."""

from __future__ import annotations

import io
import json
import logging
import threading
import warnings
import zipfile
from io import StringIO
from pathlib import Path

import httpx
import pytest
from pydicom import dcmread

from dicom_node.log import configure
from dicom_node.node import Node
from tests.dicom_node.conftest import Pacs, Site, eventually, next_free_port
from tests.dicom_node.http_server import served
from tests.dicom_node.studies import send, study_uid, write_chest, write_scout

LATIN, CYRILLIC, BORN = "Zqmark", "Щзмарк", "19010203"
TAGS = {
    "PatientID": f"{LATIN}-ID", "PatientBirthDate": BORN, "PatientAddress": f"{LATIN} street 1",
    "PatientTelephoneNumbers": f"{LATIN} 555", "OtherPatientIDs": f"{LATIN}-OTHER",
    "PatientComments": f"{LATIN} comment {CYRILLIC}", "AdditionalPatientHistory": f"{LATIN} history",
    "AccessionNumber": f"{LATIN}ACC", "StudyID": f"{LATIN}SID", "InstitutionName": f"{LATIN} hospital",
    "InstitutionAddress": f"{LATIN} road {CYRILLIC}", "StationName": f"{LATIN}CT",
    "ReferringPhysicianName": f"{LATIN}^Doctor", "PerformingPhysicianName": f"{CYRILLIC}^Врач",
    "RequestingPhysician": f"{LATIN}^Asker", "OperatorsName": f"{LATIN}^Operator",
    "StudyDescription": f"{LATIN} study {CYRILLIC}", "SeriesDescription": f"{LATIN} thorax {CYRILLIC}",
    "ProtocolName": f"{LATIN} protocol", "ImageComments": f"{LATIN} image", "DeviceSerialNumber": f"{LATIN}7",
}  # fmt: skip
NAMES = {
    "latin": f"{LATIN}^Jane",
    "cyrillic": f"{CYRILLIC}^Иван",
    "script": f"<script>alert('{LATIN}')</script>^\"{LATIN}\"",
}


def marked(paths: list[Path], name: str, **more: str) -> list[Path]:
    """The files with a patient in every tag that may hold one."""
    for path in paths:
        image = dcmread(path)
        image.SpecificCharacterSet = "ISO_IR 192"
        image.PatientName = NAMES[name]
        for keyword, value in (TAGS | more).items():
            setattr(image, keyword, value)
        image.save_as(path)
    return paths


def in_zip(paths: list[Path], *, above: str = "") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in paths:
            archive.writestr(f"{above}{LATIN}/{CYRILLIC}/{path.name}", path.read_bytes())
    return buffer.getvalue()


FORMS = [LATIN.lower().encode(), BORN.encode()] + [
    form.encode(encoding)
    for form in (CYRILLIC, CYRILLIC.lower(), CYRILLIC.upper())
    for encoding in ("utf-8", "iso8859-5", "cp866", "unicode_escape")
]
"""The marks in every encoding that a tag, the name of a file or JSON could bring them in."""


def found(data: bytes) -> list[bytes]:
    """The marks that are in some bytes."""
    folded = data.lower()
    return [form for form in FORMS if form in folded or form in data]


def test_marks_are_found() -> None:
    """The search itself: a mark that nobody could find would prove nothing."""
    for text in (LATIN, LATIN.upper(), CYRILLIC, BORN):
        assert found(b"x" + text.encode() + b"y"), text
    assert found(CYRILLIC.encode("iso8859-5"))
    assert found(CYRILLIC.encode("unicode_escape"))
    assert not found(b"nothing of a patient")


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> StringIO:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    monkeypatch.setattr(logging.getLogger(), "level", logging.DEBUG)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    stream = StringIO()
    configure("DEBUG", stream)
    return stream


def uploads(tmp_path: Path) -> dict[str, tuple[str, bytes, int]]:
    """Path, body and status of what is sent by HTTP."""
    good = in_zip(marked(write_chest(tmp_path, "good"), "latin"))
    image = marked(write_chest(tmp_path, "one", slices=1), "script")
    encrypted = bytearray(in_zip(image))
    encrypted[6] |= 1
    encrypted[encrypted.index(b"PK\x01\x02") + 8] |= 1
    cut = marked(write_chest(tmp_path, "cut"), "cyrillic")
    for path in cut:
        path.write_bytes(path.read_bytes()[:400])
    two = [*marked(write_chest(tmp_path, "two"), "latin"),
           *marked(write_chest(tmp_path, "three"), "script", PatientID=f"{LATIN}-2")]  # fmt: skip
    uids = marked(write_chest(tmp_path, "uids"), "latin")
    for path in uids:
        # What stands where a UID should: another application's mistake.
        uid = str(dcmread(path, stop_before_pixels=True).SeriesInstanceUID).encode()
        path.write_bytes(path.read_bytes().replace(uid, (LATIN * 20).encode()[: len(uid)]))
    return {
        "good": ("/predict", good, 200),
        "kept": ("/predict?archive=true", in_zip(marked(write_chest(tmp_path, "kept"), "script")), 200),
        "cyrillic": ("/predict", in_zip(marked(write_chest(tmp_path, "cyr"), "cyrillic")), 200),
        "refused": ("/predict", in_zip(marked(write_scout(tmp_path, "refused"), "script")), 422),
        "few": ("/predict?details=true", in_zip(image), 422),
        "patients": ("/predict", in_zip(two), 422),
        "cut": ("/predict", in_zip(cut), 422),
        "uids": ("/predict", in_zip(uids), 422),
        "encrypted": ("/predict", bytes(encrypted), 422),
        "escape": ("/predict", in_zip(image, above="../"), 422),
        "letter": ("/predict", f"A letter about {LATIN}.".encode(), 400),
        "volume": ("/predict_nifti", f"A letter about {LATIN}.".encode(), 400),
        "query": (f"/predict?study_uid={LATIN}", good, 400),
        "nothing": (f"/studies/{LATIN}", good, 405),
    }


def test_nothing_of_a_patient_is_kept_or_said(site: Site, pacs: Pacs, tmp_path: Path, log: StringIO) -> None:
    node = site.start(pacs.destination())
    said = b""
    with served(node, next_free_port()) as url:
        for kind, (path, body, status) in uploads(tmp_path).items():
            answer = httpx.post(f"{url}{path}", files={"file": (f"{LATIN}_{CYRILLIC}.zip", body)}, timeout=60)
            assert answer.status_code == status, (kind, answer.text)
            said += answer.content
        site.analyser.faults = [ValueError(f"bad value {NAMES['latin']} {CYRILLIC}")] * 3
        body = in_zip(marked(write_chest(tmp_path, "faulty"), "latin"))
        answer = httpx.post(f"{url}/predict", files={"file": ("a.zip", body)}, timeout=60)
        assert answer.status_code == 500
        said += answer.content
        site.analyser.faults = [OSError(5, f"no such {LATIN}", f"/{CYRILLIC}")]
        send(marked(write_chest(tmp_path, "stored"), "cyrillic"), site.archive)
        send(marked(write_scout(tmp_path, "scout"), "script"), site.archive)
        eventually(lambda: _state(node, "stored") == "reported" and _state(node, "scout") == "refused", 60)
        eventually(lambda: _delivered(node, "stored") == _delivered(node, "kept") == ["delivered"], 60)
        for path in ("/studies?limit=1000", "/metrics", "/ready", "/openapi.json"):
            said += httpx.get(f"{url}{path}").content
        for record in node.ledger.recent():
            if record.study_uid:
                said += httpx.get(f"{url}/studies/{record.study_uid}").content
    site.stop()

    assert found(said) == []
    # But for those of the client that this test is.
    lines = [
        line for line in log.getvalue().splitlines() if not json.loads(line)["logger"].startswith("http")
    ]
    assert len(lines) > 20
    assert [line for line in lines if found(line.encode())] == []
    kept = [path for path in node.folder.root.rglob("*") if path.is_file()]
    assert {"ledger.sqlite", "workflows.sqlite", "result.json"} <= {path.name for path in kept}
    objects = [path for path in kept if path.suffix == ".dcm"]
    assert objects
    assert all(found(path.read_bytes()) for path in objects if path.name == "sr.dcm")  # there it belongs
    leaks = [path for path in kept if path not in objects and found(path.read_bytes())]
    assert leaks == []
    assert [path for path in kept if found(str(path).encode())] == []
    assert list(node.folder.uploads.iterdir()) == list((node.folder.root / "work").iterdir()) == []


def _delivered(node: Node, name: str) -> list[str]:
    return [
        item.state for record in node.ledger.recent(study_uid=study_uid(name)) for item in record.deliveries
    ]


def _state(node: Node, name: str) -> str | None:
    records = node.ledger.recent(study_uid=study_uid(name))
    return records[0].state if records else None
