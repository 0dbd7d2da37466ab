"""What the HTTP server says of studies, to whom, and for whom it is not there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from dicom_node.local_orthanc import LocalOrthanc
from dicom_node.node import Node
from dicom_node.orthanc import Orthanc
from dicom_node.settings import HttpSettings, Settings
from tests.dicom_node.conftest import Pacs, Site, eventually, next_free_port
from tests.dicom_node.http_server import served
from tests.dicom_node.studies import PATIENT, send, study_uid, write_chest, write_scout


@pytest.fixture
def node(site: Site, pacs: Pacs) -> Node:
    return site.start(pacs.destination())


@pytest.fixture
def url(node: Node) -> Iterator[str]:
    with served(node, next_free_port()) as url:
        yield url


def state_of(url: str, name: str) -> str | None:
    response = httpx.get(f"{url}/studies/{study_uid(name)}")
    return str(response.json()["state"]) if response.status_code == 200 else None


def test_studies_end_in_a_state_with_reasons(url: str, archive: LocalOrthanc, tmp_path: Path) -> None:
    files = [*write_chest(tmp_path, "good"), *write_scout(tmp_path, "good"), *write_scout(tmp_path, "scout")]
    send(files, archive)
    eventually(lambda: state_of(url, "good") == "reported" and state_of(url, "scout") == "refused")
    eventually(lambda: delivered(url, "good"))

    good = httpx.get(f"{url}/studies/{study_uid('good')}").json()
    assert good["result"]["probability"] == 0.9
    assert good["result"]["decision"] == 1
    assert "not for diagnosis" in good["result"]["notice"]
    assert good["result"]["findings"] == [{"name": "Lung nodule", "probability": 0.9, "present": True}]
    assert {"queue", "fetch", "read", "report", "store", "deliver:pacs"} <= set(good["seconds"])
    assert good["deliveries"][0]["destination"] == "pacs"
    assert good["deliveries"][0]["objects"] == len(good["objects"]) == 3
    assert {item["chosen"] for item in good["series"]} == {True, False}

    refused = httpx.get(f"{url}/studies/{study_uid('scout')}").json()
    assert refused["code"] == "no_ct_series"
    assert refused["sentence"]
    assert refused["remedy"]
    assert refused["result"] is None

    listed = httpx.get(f"{url}/studies").json()["studies"]
    assert {item["study_uid"] for item in listed} == {study_uid("good"), study_uid("scout")}
    assert len(httpx.get(f"{url}/studies", params={"limit": 1}).json()["studies"]) == 1
    everything = httpx.get(f"{url}/studies").text + str(good) + str(refused)
    assert PATIENT.patient_id not in everything
    assert "Geheim" not in everything

    metrics = httpx.get(f"{url}/metrics").text
    assert 'dicom_node_studies{state="reported"} 1.0' in metrics
    assert 'dicom_node_studies{state="refused"} 1.0' in metrics
    assert re.search(r'dicom_node_stage_seconds_count\{stage="fetch"\} 1\.0', metrics)
    assert "dicom_node_archive_reachable 1.0" in metrics
    assert "dicom_node_queue 0.0" in metrics


def test_a_late_series_that_is_not_chosen_has_its_reason_too(
    url: str, archive: LocalOrthanc, tmp_path: Path
) -> None:
    send(write_chest(tmp_path, "late"), archive)
    eventually(lambda: state_of(url, "late") == "reported")
    before = httpx.get(f"{url}/studies/{study_uid('late')}").json()
    assert [item["reason"] for item in before["series"]] == ["chosen"]
    send(write_scout(tmp_path, "late"), archive)
    eventually(lambda: len(httpx.get(f"{url}/studies/{study_uid('late')}").json()["series"]) == 2)
    after = httpx.get(f"{url}/studies/{study_uid('late')}").json()
    assert [item["reason"] for item in after["series"]] == ["chosen", "localizer"]
    assert after["key"] == before["key"]
    assert after["earlier"] == []


def delivered(url: str, name: str) -> bool:
    deliveries = httpx.get(f"{url}/studies/{study_uid(name)}").json()["deliveries"]
    return bool(deliveries) and all(item["state"] == "delivered" for item in deliveries)


def test_hint_is_accepted_at_once(
    archive: LocalOrthanc, node: Node, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[str] = []
    monkeypatch.setattr(node, "hint", heard.append)
    send(write_chest(tmp_path, "a"), archive)
    orthanc_id = Orthanc(archive.settings()).study_id(study_uid("a"))
    response = httpx.post(f"{url}/intake/stable-study", json={"orthanc_id": orthanc_id})
    assert response.status_code == 202
    assert heard == [orthanc_id]
    for wrong in ({"orthanc_id": "../studies"}, {"orthanc_id": orthanc_id, "more": 1}, {}):
        response = httpx.post(f"{url}/intake/stable-study", json=wrong)
        assert response.status_code == 400
        assert response.json()["error"].startswith("invalid_request: ")
    broken = httpx.post(
        f"{url}/intake/stable-study", content=b"{", headers={"Content-Type": "application/json"}
    )
    assert broken.json()["error"] == "invalid_request: These values are not valid: body."
    assert heard == [orthanc_id]


def test_health_ready_and_what_is_not_there(url: str) -> None:
    assert httpx.get(f"{url}/health").json() == {"status": "healthy"}
    assert httpx.head(f"{url}/health").status_code == 200
    eventually(lambda: httpx.get(f"{url}/ready").status_code == 200)
    ready = httpx.get(f"{url}/ready").json()
    assert ready["ready"] is True
    assert ready["archive_version"]
    paths = httpx.get(f"{url}/openapi.json").json()["paths"]
    assert "multipart/form-data" in paths["/predict"]["post"]["requestBody"]["content"]
    for address, status, code in [("/nothing", 404, "not_found"), ("/studies/1.2.3", 404, "not_found")]:
        response = httpx.get(f"{url}{address}")
        assert response.status_code == status
        assert response.json()["error"].startswith(f"{code}: ")
    assert httpx.get(f"{url}/predict").json()["error"].startswith("method_not_allowed: ")
    assert httpx.get(f"{url}/studies", params={"limit": 0}).status_code == 400


def test_the_documentation_needs_no_other_host(url: str) -> None:
    page = httpx.get(f"{url}/docs")
    assert page.status_code == 200
    scripts = re.findall(r"(?:src|href)=\"([^\"]+)\"", page.text)
    assert scripts
    for address in scripts:
        assert address.startswith("/"), address
        assert httpx.get(url + address).status_code == 200


def test_without_a_token_only_this_machine_is_served(url: str) -> None:
    """A web page whose name was pointed at 127.0.0.1 sends its own name."""
    assert httpx.get(f"{url}/studies", headers={"Host": "evil.example"}).status_code == 400
    assert httpx.get(f"{url}/studies", headers={"Host": "localhost:1234"}).status_code == 200
    assert httpx.get(f"{url}/studies", headers={"Host": "[::1]:1234"}).status_code == 200


def test_token_guards_all_but_health(site: Site, tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("s3cret\n")
    node = site.start(http=HttpSettings(token_file=secret))
    with served(node, next_free_port()) as url:
        assert httpx.get(f"{url}/health").status_code == 200
        assert httpx.get(f"{url}/docs").status_code == 200
        for headers in (
            {},
            {"Authorization": "Bearer wrong"},
            {"Authorization": "Basic s3cret"},
            {"Authorization": ""},
        ):
            for address in ("/studies", "/metrics", "/studies/1.2.3"):
                response = httpx.get(f"{url}{address}", headers=headers)
                assert response.status_code == 401
                assert response.headers["www-authenticate"] == "Bearer"
            response = httpx.post(f"{url}/predict", files={"file": ("a.zip", b"PK")}, headers=headers)
            assert response.status_code == 401
            assert response.json()["processing_status"] == "Failure"
            response = httpx.post(f"{url}/intake/stable-study", json={}, headers=headers)
            assert response.status_code == 401
        right = {"Authorization": "Bearer s3cret"}
        assert httpx.get(f"{url}/studies", headers=right).status_code == 200
        assert httpx.get(f"{url}/metrics", headers=right).status_code == 200


def test_without_credentials_only_loopback_can_be_set(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="loopback"):
        Settings(http=HttpSettings(host="0.0.0.0"))  # noqa: S104
    (tmp_path / "token").write_text("x")
    Settings(http=HttpSettings(host="0.0.0.0", token_file=tmp_path / "token"))  # noqa: S104
