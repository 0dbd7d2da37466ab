"""`POST /predict` and `/predict_nifti` over a real server: keys, types and statuses of the contract."""

from __future__ import annotations

import io
import json
import logging
import socket
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import nibabel
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.fileset import FileSet

from dicom_node.node import Node
from dicom_node.settings import HttpSettings, OrthancSettings, Settings, WorkerSettings
from dicom_node.uploads import Upload
from tests.dicom_node.conftest import Site, eventually, instances_of, next_free_port
from tests.dicom_node.http_server import served, zipped
from tests.dicom_node.stand_in import StandInAnalyser
from tests.dicom_node.studies import PATIENT, SLICES, as_modality, study_uid, write_chest, write_scout

SR = "1.2.840.10008.5.1.4.1.1.88.34"
CT = "1.2.840.10008.5.1.4.1.1.2"
KEYS = {
    "study_uid",
    "series_uid",
    "probability_of_pathology",
    "pathology",
    "most_dangerous_pathology_type",
    "processing_status",
    "time_of_processing",
}
LIMIT = 3 << 20


@pytest.fixture
def analyser() -> StandInAnalyser:
    return StandInAnalyser()


@pytest.fixture
def node(tmp_path: Path, analyser: StandInAnalyser) -> Iterator[Node]:
    """A node without archive and intake: uploads alone."""
    settings = Settings(
        data_folder=tmp_path / "node",
        http=HttpSettings(max_upload_bytes=LIMIT, predict_timeout_s=20),
        orthanc=OrthancSettings(url=f"http://127.0.0.1:{next_free_port()}"),
        worker=WorkerSettings(),
    )
    node = Node(settings, analyser=analyser, intake=False)
    node.start()
    yield node
    analyser.gate.set()
    node.stop()


@pytest.fixture
def url(node: Node) -> Iterator[str]:
    with served(node, next_free_port()) as url:
        yield url


def post(
    url: str, data: bytes, path: str = "/predict", name: str = "study.zip", **options: Any
) -> httpx.Response:
    return httpx.post(f"{url}{path}", files={"file": (name, data)}, timeout=60, **options)


def assert_failure(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The failure column of the contract: exactly these keys, these values."""
    answer: dict[str, Any] = response.json()
    assert response.status_code == status, answer
    assert set(answer) == KEYS | {"error"}
    assert answer["study_uid"] == answer["series_uid"] == ""
    assert answer["probability_of_pathology"] is None
    assert answer["pathology"] is None
    assert answer["most_dangerous_pathology_type"] is None
    assert answer["processing_status"] == "Failure"
    assert type(answer["time_of_processing"]) is float
    assert answer["error"].startswith(f"{code}: ")
    assert len(answer["error"]) > len(code) + 10
    return answer


def uploads_left(node: Node) -> list[Path]:
    return list(node.folder.uploads.iterdir())


def test_success_has_exactly_the_keys_and_types(node: Node, url: str, tmp_path: Path) -> None:
    files = write_chest(tmp_path, "a")
    response = post(url, zipped(files))
    answer = response.json()
    assert response.status_code == 200, answer
    assert set(answer) == KEYS
    assert answer["study_uid"] == study_uid("a")
    assert answer["series_uid"] == str(dcmread(files[0]).SeriesInstanceUID)
    assert type(answer["probability_of_pathology"]) is float
    assert answer["pathology"] == 1
    assert type(answer["pathology"]) is int
    assert answer["most_dangerous_pathology_type"] == "Lung nodule"
    assert answer["processing_status"] == "Success"
    assert type(answer["time_of_processing"]) is float
    assert 0 < answer["time_of_processing"] < 60
    assert "not for diagnosis" in response.headers["x-demonstration"]
    assert uploads_left(node) == []


def test_same_upload_again_is_answered_from_the_stored_result(
    url: str, analyser: StandInAnalyser, node: Node, tmp_path: Path
) -> None:
    data = zipped(write_chest(tmp_path, "a"))
    first, second = post(url, data).json(), post(url, data).json()
    assert len(analyser.calls) == 1
    assert {**first, "time_of_processing": 0} == {**second, "time_of_processing": 0}
    assert uploads_left(node) == []


def test_stored_result_is_given_with_what_came_with_the_images_now(
    url: str, analyser: StandInAnalyser, tmp_path: Path
) -> None:
    chest, scout = write_chest(tmp_path, "a"), write_scout(tmp_path, "a")
    rar = tmp_path / "more.rar"
    rar.write_bytes(b"Rar!\x1a\x07\x01\x00" + bytes(40))

    def details(files: list[Path]) -> dict[str, Any]:
        answer = post(url, zipped(files), params={"details": "true"}).json()
        found: dict[str, Any] = answer["details"]
        return found

    assert [item["reason"] for item in details(chest)["series"]] == ["chosen"]
    found = details([*chest, *scout, rar])
    assert [item["reason"] for item in found["series"]] == ["chosen", "localizer"]
    assert any("a RAR archive" in warning for warning in found["warnings"])
    assert [item["reason"] for item in details(chest)["series"]] == ["chosen"]
    assert len(analyser.calls) == 1


def test_details_are_there_when_asked_for(url: str, tmp_path: Path) -> None:
    files = [*write_chest(tmp_path, "a"), *write_scout(tmp_path, "a")]
    answer = post(url, zipped(files), params={"details": "true"}).json()
    assert set(answer) == KEYS | {"details"}
    details = answer["details"]
    assert details["member_scores"] == {"stand-in": {"Lung nodule": 0.9}}
    assert set(details["fusion"]) == {"columns", "contributions"}
    assert "read" in details["seconds"]
    assert "not for diagnosis" in details["notice"]
    chosen = {item["chosen"]: item for item in details["series"]}
    assert chosen[True]["instances"] == 24
    assert chosen[False]["sentence"]


def test_nothing_of_the_patient_stays_when_the_answer_is_out(node: Node, url: str, tmp_path: Path) -> None:
    data = zipped(write_chest(tmp_path, "a"))
    for accept in ("application/json", "application/zip"):
        assert post(url, data, headers={"Accept": accept}).status_code == 200
        name = PATIENT.patient_id.encode()
        left = [path for path in node.folder.root.rglob("*") if path.is_file() and name in path.read_bytes()]
        assert left == [], accept


def test_zip_is_given_when_accepted(url: str, tmp_path: Path) -> None:
    files = write_chest(tmp_path, "a")
    response = post(url, zipped(files), headers={"Accept": "application/zip"})
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        names = archive.namelist()
        report = dcmread(io.BytesIO(archive.read(names[0])))
        image = dcmread(io.BytesIO(archive.read(names[1])))
    assert report.SOPClassUID == SR
    assert report.StudyInstanceUID == study_uid("a")
    assert image.Modality == "OT" or "SECONDARY" in image.ImageType
    assert report.PatientID == PATIENT.patient_id


def test_zip_is_given_only_where_it_is_not_less_wanted_than_json(url: str, tmp_path: Path) -> None:
    data = zipped(write_chest(tmp_path, "kinds"))
    wanted = {
        "application/zip;q=0": "application/json",
        "application/json, application/zip;q=0.5": "application/json",
        "application/json;q=0.5, Application/ZIP": "application/zip",
        "text/html, */*": "application/json",
        "application/zip;q=much": "application/json",
    }
    for accept, kind in wanted.items():
        response = post(url, data, headers={"Accept": accept})
        assert (response.status_code, response.headers["content-type"]) == (200, kind), accept


def test_callers_at_once_all_get_their_objects_and_none_stay(
    node: Node, url: str, tmp_path: Path, analyser: StandInAnalyser
) -> None:
    analyser.gate.clear()
    data = zipped(write_chest(tmp_path, "crowd"))
    answers: list[httpx.Response] = []
    callers = [
        threading.Thread(
            target=lambda: answers.append(post(url, data, headers={"Accept": "application/zip"}))
        )
        for _ in range(4)
    ]
    for caller in callers:
        caller.start()
    eventually(lambda: len(list((node.folder.root / "uploads").iterdir())) == 1 and analyser.calls)
    analyser.gate.set()
    for caller in callers:
        caller.join()
    assert [answer.status_code for answer in answers] == [200] * 4
    [record] = node.ledger.recent()
    eventually(lambda: [file.name for file in node.folder.results(record.key).iterdir()] == ["result.json"])
    assert len(analyser.calls) == 1


def test_objects_that_nobody_took_are_gone_at_the_next_start(site: Site, tmp_path: Path) -> None:
    node = site.start()
    folder = node.folder.uploads / "one"
    folder.mkdir()
    files = tuple(file.rename(folder / file.name) for file in write_chest(tmp_path, "left"))
    key = node.submit_upload(Upload(folder, "dicom", files, ""), "objects")
    assert node.wait(key, 30).state == "reported"
    assert node.objects(key)
    node = site.start()
    assert node.objects(key) == []
    assert [file.name for file in node.folder.results(key).iterdir()] == ["result.json"]


def test_what_is_no_zip_is_400(node: Node, url: str) -> None:
    for data, word in [(b"", "empty"), (b"no zip at all", "ZIP"), (b"7z\xbc\xaf\x27\x1c123456", "7z")]:
        answer = assert_failure(post(url, data), 400, "not_a_zip")
        assert word in answer["error"]
    assert uploads_left(node) == []


def test_missing_field_is_400_in_the_same_shape(node: Node, url: str) -> None:
    multipart = {"Content-Type": "multipart/form-data"}
    requests: list[dict[str, Any]] = [
        {"files": {"other": ("a.zip", b"PK")}},
        {"data": {"field": "value"}},
        {"content": b"PK\x03\x04", "headers": {"Content-Type": "application/zip"}},
        {"content": b"--x\r\nbroken", "headers": {"Content-Type": "multipart/form-data; boundary=x"}},
        {"content": b"x", "headers": {"Content-Type": f"multipart/form-data; boundary={'b' * 3000}"}},
        {"content": b"", "headers": multipart},
        {},
    ]
    for request in requests:
        answer = assert_failure(httpx.post(f"{url}/predict", **request), 400, "not_a_zip")
        assert "'file'" in answer["error"]
        assert_failure(httpx.post(f"{url}/predict_nifti", **request), 400, "not_a_nifti")
    assert uploads_left(node) == []


def test_wrong_query_is_400_in_the_same_shape(url: str) -> None:
    answer = assert_failure(post(url, b"", params={"details": "geheim"}), 400, "invalid_request")
    assert "details" in answer["error"]
    assert "geheim" not in answer["error"]


def test_too_large_is_413_while_receiving(node: Node, url: str) -> None:
    """Announced or not, the body is not kept beyond the cap."""
    assert_failure(post(url, bytes(LIMIT + 1)), 413, "too_large")

    def unannounced() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        for _ in range(20):
            yield bytes(1 << 20)

    response = httpx.post(
        f"{url}/predict",
        content=unannounced(),
        headers={"Content-Type": "multipart/form-data; boundary=x"},
        timeout=60,
    )
    assert_failure(response, 413, "too_large")
    assert uploads_left(node) == []


def test_who_still_sends_sees_the_error_too(node: Node, url: str) -> None:
    """A large body behind a header that is wrong: the answer comes, not a broken connection."""
    for headers in ({"Content-Type": "text/plain"}, {"Content-Type": "multipart/form-data; boundary=y"}):
        response = httpx.post(f"{url}/predict", content=bytes(LIMIT - 1), headers=headers, timeout=60)
        assert_failure(response, 400, "not_a_zip")
    assert uploads_left(node) == []


def test_refusals_are_422_with_their_code(node: Node, url: str, tmp_path: Path) -> None:
    text = tmp_path / "readme.txt"
    text.write_text("no DICOM")
    assert_failure(post(url, zipped([text])), 422, "not_dicom")
    assert_failure(post(url, zipped(write_scout(tmp_path, "scout"))), 422, "no_ct_series")
    magnetic = [as_modality(file, "MR", "1.2.840.10008.5.1.4.1.1.4") for file in write_chest(tmp_path, "mr")]
    assert_failure(post(url, zipped(magnetic)), 422, "no_ct_series")
    two = [*write_chest(tmp_path, "one"), *write_chest(tmp_path, "two")]
    assert_failure(post(url, zipped(two)), 422, "mixed_studies")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("../../evil", "x")
    assert_failure(post(url, buffer.getvalue()), 422, "unsafe_archive")
    assert uploads_left(node) == []


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom.charset")
def test_objects_of_headers_whose_text_would_be_lost_are_refused(
    node: Node, url: str, tmp_path: Path
) -> None:
    """The answer alone needs no text of them, and is given."""
    files = write_chest(tmp_path, "letters")
    for file in files:
        content = file.read_bytes()
        assert b"Geheim" in content
        file.write_bytes(content.replace(b"ISO_IR 100", b"ISO_IR 192").replace(b"Geheim", b"Geh\xff\xfem"))
    data = zipped(files)
    assert post(url, data).status_code == 200
    answer = assert_failure(post(url, data, headers={"Accept": "application/zip"}), 422, "unreadable_text")
    assert "Niemand" not in answer["error"]
    assert uploads_left(node) == []


def packed(*members: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return buffer.getvalue()


def refused_archives() -> dict[str, tuple[bytes, int, str]]:
    """Archives with a patient's name in every path, the status and the code that each earns."""
    name = f"{PATIENT.name}/{PATIENT.patient_id}"
    image = packed((name, b"image"))
    encrypted, other, link = bytearray(image), bytearray(image), zipfile.ZipInfo(name)
    central = image.index(b"PK\x01\x02")
    encrypted[6] = encrypted[central + 8] = 1
    other[central + 10] = 9
    link.external_attr = 0o120777 << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    return {
        "cut": (image[:-5], 400, "not_a_zip"),
        "program before": (b"MZ" + image, 400, "not_a_zip"),
        "tar": (bytes(257) + b"ustar" + name.encode(), 400, "not_a_zip"),
        "encrypted": (bytes(encrypted), 422, "unsafe_archive"),
        "Deflate64": (bytes(other), 422, "unsafe_archive"),
        "link": (buffer.getvalue(), 422, "unsafe_archive"),
        "path": (packed((f"../{name}", b"image")), 422, "unsafe_archive"),
        "nested": (packed((name, packed((name, image)))), 422, "unsafe_archive"),
        "bomb": (packed((name, bytes(80 << 20))), 422, "unsafe_archive"),
        "no images": (image, 422, "not_dicom"),
        "empty": (packed(), 422, "not_dicom"),
    }


@pytest.mark.parametrize("kind", refused_archives())
def test_refused_archive_has_a_code_and_a_remedy_and_leaves_no_name_and_no_file(
    node: Node, url: str, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    data, status, code = refused_archives()[kind]
    with caplog.at_level(logging.DEBUG):
        assert_failure(post(url, data, name=f"{PATIENT.name}.zip"), status, code)
        detailed = post(url, data, name=f"{PATIENT.name}.zip", params={"details": "true"})
    details = detailed.json()["details"]
    assert details["code"] == code
    assert details["remedy"]
    assert details["sentence"].endswith(".")
    said = detailed.text + " ".join(str(vars(record)) for record in caplog.records)
    assert PATIENT.name.split("^")[0] not in said
    assert PATIENT.patient_id not in said
    assert uploads_left(node) == []


def test_limits_of_the_site_have_their_status(node: Node, url: str) -> None:
    data = packed(("a", bytes(2000)), ("b", bytes(2000)))
    for limit, status, code in [
        ({"max_members": 1}, 413, "too_large"),
        ({"max_member_bytes": 1999}, 413, "too_large"),
        ({"max_inflated_bytes": 3999}, 413, "too_large"),
        ({"unpack_timeout_s": 1e-9}, 422, "unpacking_too_slow"),
    ]:
        http = HttpSettings(predict_timeout_s=20, **limit)  # type: ignore[arg-type]
        node.settings = node.settings.model_copy(update={"http": http})
        assert_failure(post(url, data), status, code)
        assert uploads_left(node) == []


def test_one_of_several_studies_is_read_when_asked_for(node: Node, url: str, tmp_path: Path) -> None:
    both = zipped([*write_chest(tmp_path, "one"), *write_chest(tmp_path, "two")])
    assert_failure(post(url, both), 422, "mixed_studies")
    for name in ("one", "two"):
        response = post(url, both, params={"study_uid": study_uid(name)})
        assert response.status_code == 200, response.text
        assert response.json()["study_uid"] == study_uid(name)
    assert_failure(post(url, both, params={"study_uid": study_uid("three")}), 422, "study_not_found")
    for wrong in (PATIENT.name, "", "1" * 65):
        answer = assert_failure(post(url, both, params={"study_uid": wrong}), 400, "invalid_request")
        assert "study_uid" in answer["error"]
        assert "Geheim" not in answer["error"]
    assert uploads_left(node) == []


def test_two_patients_are_refused_unless_the_study_of_one_is_asked_for(
    node: Node, url: str, tmp_path: Path
) -> None:
    files = [*write_chest(tmp_path, "mine"), *write_chest(tmp_path, "other")]
    for file in files[SLICES:]:
        dataset = dcmread(file)
        dataset.PatientID = "SECRET-2"
        dataset.save_as(file)
    data = zipped(files)
    answer = assert_failure(post(url, data), 422, "mixed_patients")
    assert "SECRET" not in answer["error"]
    assert post(url, data, params={"study_uid": study_uid("other")}).json()["study_uid"] == study_uid("other")

    # One study of two patients is a mistake of the sender's, whatever is asked for.
    dataset = dcmread(files[0])
    dataset.PatientID = "SECRET-3"
    dataset.save_as(files[0])
    asked = {"study_uid": study_uid("mine")}
    assert_failure(post(url, zipped(files), params=asked), 422, "mixed_patients")
    assert uploads_left(node) == []


def test_a_study_is_read_among_all_that_lies_on_a_patients_cd(node: Node, url: str, tmp_path: Path) -> None:
    files = write_chest(tmp_path, "cd")
    file_set = FileSet()
    for file in files:
        file_set.add(file)
    file_set.write(tmp_path / "cd")
    directory = (tmp_path / "cd" / "DICOMDIR").read_bytes()
    members = [(f"DICOM/{file.name}", file.read_bytes()) for file in files]
    data = packed(
        ("DICOMDIR", directory),
        ("INDEX", directory),
        ("README.TXT", b"How to use the viewer"),
        ("AUTORUN.INF", b""),
        ("report.pdf", b"%PDF-1.7 " + bytes(500)),
        ("VIEWER/viewer.exe", b"MZ\x90\x00" + bytes(5000)),
        ("VIEWER/viewer.jar", packed(("META-INF/MANIFEST.MF", b"x"), ("lib.jar", packed(("a", b"b"))))),
        *members[:12],
        ("rest.zip", packed(*members[12:])),
    )
    response = post(url, data, params={"details": "true"})
    assert response.status_code == 200, response.text
    assert response.json()["study_uid"] == study_uid("cd")
    assert [item["instances"] for item in response.json()["details"]["series"]] == [SLICES]
    assert uploads_left(node) == []


def test_refusal_with_details_says_why_for_every_series(url: str, tmp_path: Path) -> None:
    response = post(url, zipped(write_scout(tmp_path, "scout")), params={"details": "true"})
    answer = response.json()
    assert response.status_code == 422
    assert answer["details"]["remedy"]
    assert [item["chosen"] for item in answer["details"]["series"]] == [False]


def test_fault_is_500_and_says_nothing_of_the_patient(
    node: Node, url: str, analyser: StandInAnalyser, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    analyser.faults = [ValueError(f"bad value {PATIENT.name}") for _ in range(10)]
    with caplog.at_level(logging.DEBUG):
        response = post(url, zipped(write_chest(tmp_path, "a")))
    answer = assert_failure(response, 500, "fault")
    assert "Geheim" not in json.dumps(answer)
    assert "Traceback" not in response.text
    assert uploads_left(node) == []


def test_unexpected_exception_has_an_incident_that_the_log_knows(
    node: Node, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> str:
        raise RuntimeError(f"no more {PATIENT.name}")

    monkeypatch.setattr(node, "submit_upload", broken)
    with caplog.at_level(logging.INFO):
        answer = assert_failure(post(url, zipped(write_chest(tmp_path, "a"))), 500, "fault")
    incident = answer["error"].rstrip(".").rsplit(" ", 1)[-1]
    records = [record for record in caplog.records if getattr(record, "incident", None) == incident]
    assert len(records) == 1
    assert "Geheim" not in answer["error"]
    assert "Geheim" not in " ".join(record.getMessage() for record in caplog.records)
    assert uploads_left(node) == []


def test_no_worker_is_503(tmp_path: Path, analyser: StandInAnalyser) -> None:
    settings = Settings(data_folder=tmp_path / "node", orthanc=OrthancSettings(url="http://127.0.0.1:1"))
    node = Node(settings, analyser=analyser, intake=False)
    with served(node, next_free_port()) as url:
        assert httpx.get(f"{url}/health").json() == {"status": "healthy"}
        assert httpx.get(f"{url}/ready").status_code == 503
        assert_failure(post(url, zipped(write_chest(tmp_path, "a"))), 503, "no_worker")
    node.stop()


def test_busy_worker_is_503_after_the_timeout(tmp_path: Path, node: Node, analyser: StandInAnalyser) -> None:
    node.settings = node.settings.model_copy(update={"http": HttpSettings(predict_timeout_s=0.3)})
    analyser.gate.clear()
    with served(node, next_free_port()) as url:
        assert_failure(post(url, zipped(write_chest(tmp_path, "a"))), 503, "no_worker")
        analyser.gate.set()
        eventually(lambda: uploads_left(node) == [])


def nifti(tmp_path: Path, name: str) -> bytes:
    file = tmp_path / name
    nibabel.save(nibabel.Nifti1Image(np.zeros((8, 8, 8), np.int16), np.eye(4)), file)
    return file.read_bytes()


def test_nifti_is_named_as_in_the_original(node: Node, url: str, tmp_path: Path) -> None:
    for name in ("Case 7.nii.gz", "Case 7.nii"):
        response = post(url, nifti(tmp_path, name), "/predict_nifti", name)
        answer = response.json()
        assert response.status_code == 200, answer
        assert set(answer) == KEYS
        assert answer["study_uid"] == "nifti_Case 7"
        assert answer["series_uid"] == "nifti_Case 7_series"
    assert uploads_left(node) == []


def test_what_is_no_nifti_is_400(node: Node, url: str, tmp_path: Path) -> None:
    assert_failure(post(url, b"text", "/predict_nifti", "a.nii"), 400, "not_a_nifti")
    assert_failure(post(url, b"", "/predict_nifti", "a.nii"), 400, "not_a_nifti")
    truncated = nifti(tmp_path, "a.nii.gz")[:-20]
    assert_failure(post(url, truncated, "/predict_nifti", "a.nii.gz"), 400, "not_a_nifti")
    assert uploads_left(node) == []


def test_aborted_upload_leaves_nothing(node: Node, url: str) -> None:
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        head = "POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2000000\r\n"
        head += "Content-Type: multipart/form-data; boundary=x\r\n\r\n"
        connection.sendall(head.encode())
        connection.sendall(b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n')
        connection.sendall(bytes(100_000))
        eventually(lambda: uploads_left(node))
    eventually(lambda: uploads_left(node) == [])


def test_many_uploads_at_once_are_all_answered(
    node: Node, url: str, analyser: StandInAnalyser, tmp_path: Path
) -> None:
    analyser.gate.clear()
    archives = [zipped(write_chest(tmp_path, f"study {number}")) for number in range(6)]
    answers: list[dict[str, Any]] = []
    threads = [
        threading.Thread(target=lambda data=data: answers.append(post(url, data).json())) for data in archives
    ]
    for thread in threads:
        thread.start()
    time.sleep(1)
    assert httpx.get(f"{url}/health", timeout=2).json() == {"status": "healthy"}
    analyser.gate.set()
    for thread in threads:
        thread.join()
    assert {answer["study_uid"] for answer in answers} == {
        study_uid(f"study {number}") for number in range(6)
    }
    assert uploads_left(node) == []


def test_upload_is_archived_only_when_asked_for(site: Site, tmp_path: Path) -> None:
    node, archive = site.start(), site.archive
    data = zipped(write_chest(tmp_path, "a"))
    with served(node, next_free_port()) as url:
        assert post(url, data).status_code == 200
        assert instances_of(archive, CT) == []
        assert instances_of(archive, SR) == []
        assert post(url, data, params={"archive": "true"}).status_code == 200
        assert len(instances_of(archive, CT)) == 24
        assert len(instances_of(archive, SR)) == 1
    assert uploads_left(node) == []
