"""The DICOMweb proxy over a real archive: what a viewer gets, and what nobody gets."""

from __future__ import annotations

import email.parser
import email.policy
import json
import logging
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from dicom_node.local_orthanc import LocalOrthanc
from dicom_node.node import Node
from dicom_node.orthanc import Orthanc
from dicom_node.settings import HttpSettings, OrthancSettings, Settings, ViewerSettings
from tests.dicom_node.conftest import next_free_port
from tests.dicom_node.http_server import served
from tests.dicom_node.stand_in import StandInAnalyser
from tests.dicom_node.studies import SLICES, study_uid, write_chest
from tests.dicom_node.viewer_objects import file_bytes, located_report, saliency_segmentation

SECRETS = ("Geheim", "Niemand", "SECRET-4711")
PRIVATE_BYTES = bytes(range(256)) * 20
ROOT = "/dicom-web"


def reading_node(folder: Path, orthanc: OrthancSettings, **settings: object) -> Node:
    """A node that serves and takes nothing in: for HTTP it need not be started."""
    tree = Settings(data_folder=folder, orthanc=orthanc, **settings)  # type: ignore[arg-type]
    return Node(tree, analyser=StandInAnalyser(), intake=False)


@dataclass(frozen=True)
class Ward:
    """A served node and the objects in its archive: a CT series, a report, a segmentation."""

    url: str
    archive: LocalOrthanc
    slices: list[Dataset]
    report: Dataset
    segmentation: Dataset

    @property
    def study(self) -> str:
        return f"{self.url}{ROOT}/studies/{study_uid('ward')}"

    def path(self, instance: Dataset) -> str:
        return f"{self.study}/series/{instance.SeriesInstanceUID}/instances/{instance.SOPInstanceUID}"


@pytest.fixture(scope="module")
def ward(orthanc_program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    folder = tmp_path_factory.mktemp("ward")
    slices = [dcmread(file) for file in write_chest(folder, "ward")]
    slices[0].private_block(0x0011, "TESTS", create=True).add_new(1, "OB", PRIVATE_BYTES)
    mask = np.zeros((SLICES, 64, 64), np.uint8)
    mask[3:5, 10:20, 30:40] = 1
    report = located_report(slices, 5, [(10.0, 10.0), (20.0, 10.0), (15.0, 20.0)], 87.34)
    segmentation = saliency_segmentation(slices, mask)
    archive = LocalOrthanc(folder / "archive", http_port=next_free_port(), dicom_port=next_free_port())
    with archive:
        client = Orthanc(archive.settings())
        for dataset in (*slices, report, segmentation):
            client.store(file_bytes(dataset))
        with served(reading_node(folder / "node", archive.settings()), next_free_port()) as url:
            yield Ward(url, archive, slices, report, segmentation)


def parts(response: httpx.Response) -> list[tuple[dict[str, str], bytes]]:
    """Headers and content of the parts of a multipart answer."""
    head = f"Content-Type: {response.headers['content-type']}\r\n\r\n".encode()
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + response.content)
    assert message.is_multipart()
    return [
        (dict(part.items()), bytes(part.get_payload(decode=True) or b"")) for part in message.iter_parts()
    ]


def links(value: object) -> list[str]:
    """Every string in a JSON answer that is a link."""
    if isinstance(value, dict):
        return [link for item in value.values() for link in links(item)]
    if isinstance(value, list):
        return [link for item in value for link in links(item)]
    return [value] if isinstance(value, str) and "/studies/" in value else []


def test_the_study_is_found_by_its_uid_without_the_patients_identifier(ward: Ward) -> None:
    """With it, the viewer would ask for other studies of the patient, by a URL that names the patient."""
    search = f"{ward.url}{ROOT}/studies"
    [found] = httpx.get(search, params={"StudyInstanceUID": study_uid("ward"), "limit": 101}).json()
    assert found["0020000D"]["Value"] == [study_uid("ward")]
    assert "00100020" not in found
    assert "SECRET-4711" not in json.dumps(found)
    assert httpx.get(search, params={"StudyInstanceUID": "1.2.3"}).json() == []


def test_series_and_instances_come_in_pages(ward: Ward) -> None:
    series = httpx.get(f"{ward.study}/series").json()
    assert sorted(item["00080060"]["Value"][0] for item in series) == ["CT", "SEG", "SR"]
    assert len(httpx.get(f"{ward.study}/series", params={"limit": 2, "offset": 1}).json()) == 2

    instances = f"{ward.study}/series/{ward.slices[0].SeriesInstanceUID}/instances"
    pages = [httpx.get(instances, params={"limit": 10, "offset": start}).json() for start in (0, 10, 20)]
    assert [len(page) for page in pages] == [10, 10, 4]
    uids = {item["00080018"]["Value"][0] for page in pages for item in page}
    assert uids == {image.SOPInstanceUID for image in ward.slices}


def test_metadata_and_its_links_lead_to_this_node(ward: Ward) -> None:
    response = httpx.get(f"{ward.study}/series/{ward.slices[0].SeriesInstanceUID}/metadata")
    assert response.headers["content-type"] == "application/dicom+json"
    metadata = response.json()
    assert len(metadata) == SLICES
    first = next(item for item in metadata if item["00080018"]["Value"] == [ward.slices[0].SOPInstanceUID])
    assert first["00100020"]["Value"] == ["SECRET-4711"], "the viewer shows whose images these are"
    assert f":{ward.archive.http_port}" not in response.text
    assert links(metadata)
    assert all(link.startswith(f"{ROOT}/studies/") for link in links(metadata))

    bulk = httpx.get(ward.url + first["00111001"]["BulkDataURI"])
    assert [content for _, content in parts(bulk)] == [PRIVATE_BYTES]
    [found] = httpx.get(f"{ward.study}/series", params={"Modality": "SR"}).json()
    assert httpx.get(f"{ward.url}{found['00081190']['Value'][0]}/metadata").status_code == 200


def test_a_frame_is_the_slices_pixels(ward: Ward) -> None:
    accept = "multipart/related; type=application/octet-stream; transfer-syntax=*"
    with httpx.Client(headers={"Accept": accept}) as client:
        for image in ward.slices[:3]:
            response = client.get(f"{ward.path(image)}/frames/1")
            [(headers, content)] = parts(response)
            assert content == image.PixelData
            assert headers["Content-Location"].startswith(f"{ward.url}{ROOT}/studies/")
            assert int(response.headers["content-length"]) == len(response.content)


def test_report_and_segmentation_come_whole(ward: Ward) -> None:
    for dataset in (ward.report, ward.segmentation):
        response = httpx.get(
            ward.path(dataset), headers={"Accept": 'multipart/related; type="application/dicom"'}
        )
        [(_, content)] = parts(response)
        assert content == file_bytes(dataset)
    assert httpx.get(f"{ward.path(ward.slices[0])}/rendered").headers["content-type"] == "image/jpeg"


def test_no_answer_is_kept_or_taken_for_a_page(ward: Ward) -> None:
    for path in (
        f"{ward.study}/series",
        f"{ward.path(ward.slices[0])}/frames/1",
        f"{ward.path(ward.slices[0])}/rendered",
    ):
        headers = httpx.get(path).headers
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "sandbox" in headers["content-security-policy"]
        assert "server" not in {name for name in headers if "orthanc" in headers[name].lower()}


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_nothing_is_stored_or_deleted(ward: Ward, method: str) -> None:
    for path in (f"{ward.url}{ROOT}/studies", ward.study, ward.path(ward.report)):
        response = httpx.request(method, path, content=b"x" * 100_000)
        assert response.status_code == 405
        assert response.headers["allow"] == "GET"
    assert httpx.get(f"{ward.path(ward.report)}/metadata").status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/studies/..%2f..%2fsystem",
        "/studies/%2e%2e/%2e%2e/system",
        "/../system",
        "/%2e%2e/system",
        "/studies/1.2%0d%0aX-Injected:%20yes/series",
        "/servers",
        "/studies/1.2",
    ],
)
def test_other_paths_are_not_there(ward: Ward, path: str) -> None:
    """Sent as written: a client library would tidy the path."""
    port = int(ward.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(
            f"GET {ROOT}{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode()
        )
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert b"X-Injected" not in answer
    assert b"DicomAet" not in answer


def test_a_search_over_all_patients_is_refused_without_a_word_of_what_was_sent(ward: Ward) -> None:
    search = f"{ward.url}{ROOT}/studies"
    assert (
        httpx.get(search).json()["error"] == "invalid_request: StudyInstanceUID is absent or not of its form."
    )
    for query in ("limit=5", "StudyInstanceUID=1.2&PatientID=SECRET-4711", "PatientName=Geheim*"):
        response = httpx.get(f"{search}?{query}")
        assert response.status_code == 400
        assert response.json()["error"].startswith("invalid_request: ")
        assert not any(secret in response.text for secret in SECRETS)


def test_headers_of_the_caller_do_not_reach_the_archive(ward: Ward) -> None:
    """Neither the Host header nor the caller's own credentials or forwarding headers."""
    for headers in (
        {"Host": "localhost;proto=gopher;host=evil.example"},
        {"Forwarded": "host=evil.example;proto=https"},
        {"X-Forwarded-Host": "evil.example", "Authorization": "Basic ZXZpbDpldmls"},
    ):
        response = httpx.get(f"{ward.path(ward.slices[0])}/frames/1", headers=headers)
        assert b"evil.example" not in response.content
        assert response.status_code == 400 if "Host" in headers else response.status_code == 200


def test_what_the_archive_lacks_is_not_found(ward: Ward) -> None:
    for path in (
        f"{ward.study}/series/1.2.3/metadata",
        f"{ward.study}/series/{ward.slices[0].SeriesInstanceUID}/instances/1.2.3/frames/1",
    ):
        response = httpx.get(path)
        assert response.status_code == 404
        assert response.json()["error"] == "not_found: The archive does not have it."


def test_a_callers_leaving_costs_no_connection(ward: Ward) -> None:
    """More callers than there are connections hang up before they have read their frame."""
    port = int(ward.url.rpartition(":")[2])
    target = f"{ward.path(ward.slices[0])}/frames/1".removeprefix(ward.url)
    for _ in range(50):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    assert httpx.get(f"{ward.path(ward.slices[1])}/frames/1").status_code == 200


def test_nothing_of_the_patient_is_logged(ward: Ward, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        httpx.get(f"{ward.url}{ROOT}/studies", params={"StudyInstanceUID": study_uid("ward")})
        httpx.get(f"{ward.url}{ROOT}/studies", params={"PatientID": "SECRET-4711"})
        httpx.get(f"{ward.path(ward.slices[0])}/frames/1")
    ours = [record for record in caplog.records if record.name.startswith("dicom_node")]
    assert not any(secret in record.getMessage() for record in ours for secret in SECRETS)


def test_the_nodes_token_is_asked_for(ward: Ward, tmp_path: Path) -> None:
    node = reading_node(tmp_path / "node", ward.archive.settings(), http=HttpSettings(token="s3cret"))  # noqa: S106
    with served(node, next_free_port()) as url:
        path = f"{url}{ROOT}/studies?StudyInstanceUID={study_uid('ward')}"
        assert httpx.get(path).status_code == 401
        assert httpx.post(f"{url}{ROOT}/studies").status_code == 401
        assert httpx.get(path, headers={"Authorization": "Bearer s3cret"}).status_code == 200


def test_switched_off_there_is_nothing(ward: Ward, tmp_path: Path) -> None:
    node = reading_node(tmp_path / "node", ward.archive.settings(), viewer=ViewerSettings(enabled=False))
    with served(node, next_free_port()) as url:
        assert httpx.get(f"{url}{ROOT}/studies?StudyInstanceUID=1.2").status_code == 404
        assert httpx.get(f"{url}/viewer?StudyInstanceUIDs=1.2").status_code == 404


def test_an_archive_that_is_away_is_said_to_be_away(tmp_path: Path) -> None:
    away = OrthancSettings(url=f"http://127.0.0.1:{next_free_port()}")
    with served(reading_node(tmp_path / "node", away), next_free_port()) as url:
        response = httpx.get(f"{url}{ROOT}/studies?StudyInstanceUID=1.2")
    assert response.status_code == 503
    assert response.json()["error"] == "archive_unavailable: The archive does not answer."
