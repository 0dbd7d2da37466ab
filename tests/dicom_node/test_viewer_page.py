"""What the node serves of the viewer: its page with a policy, its files by exact name, its configuration."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import httpx
import pytest

from dicom_node.settings import HttpSettings, OrthancSettings, ViewerSettings
from dicom_node.viewer.config import app_config, viewer_link
from structured_report.provenance import MANUFACTURER
from tests.dicom_node.conftest import next_free_port
from tests.dicom_node.http_server import served
from tests.dicom_node.test_dicomweb import reading_node

# Nothing here asks the archive.
NO_ARCHIVE = OrthancSettings(url="http://127.0.0.1:9")
PAGE = viewer_link("1.2.840.1")
OWN = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture(scope="module")
def url(viewer_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    node = reading_node(tmp_path_factory.mktemp("node"), NO_ARCHIVE)
    with served(node, next_free_port()) as url:
        yield url


def directives(policy: str) -> dict[str, list[str]]:
    return {name: values for name, *values in (part.split() for part in policy.split(";"))}


def test_the_page_runs_its_own_scripts_and_speaks_to_this_node_only(url: str) -> None:
    response = httpx.get(url + PAGE)
    assert response.status_code == 200
    inline = re.findall(r"<script>(.*?)</script>", response.text, flags=re.DOTALL)
    assert len(inline) == 2
    policy = directives(response.headers["content-security-policy"])
    hashes = {
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in inline
    }
    assert set(policy["script-src"]) == {"'self'", "'unsafe-eval'", *hashes}
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == ["'none'"]
    assert policy["frame-src"] == ["blob:"]
    assert set(policy["connect-src"]) == {"'self'", "blob:", "data:"}
    assert not any("http" in value or "*" in value for values in policy.values() for value in values)
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["referrer-policy"] == "no-referrer"


def test_every_file_that_the_page_names_is_served(url: str) -> None:
    page = httpx.get(url + PAGE).text
    with httpx.Client() as client:
        for name in re.findall(r'(?:src|href)="(/[^"]+)"', page):
            response = client.get(url + name)
            assert response.status_code == 200, name
            assert "content-security-policy" not in response.headers
            assert response.headers["x-content-type-options"] == "nosniff"


def test_large_files_come_compressed_and_once(url: str) -> None:
    page = httpx.get(url + PAGE).text
    script = re.search(r'src="(/app\.bundle\.[0-9a-f]{16}\.js)"', page)
    assert script is not None
    with httpx.Client() as client:
        compressed = client.get(url + script[1], headers={"Accept-Encoding": "gzip"})
        assert compressed.headers["content-encoding"] == "gzip"
        assert int(compressed.headers["content-length"]) < len(compressed.content) / 3
        assert compressed.headers["content-type"].startswith("text/javascript")
        assert compressed.headers["cache-control"] == "public, max-age=31536000, immutable"
        plain = client.get(url + script[1], headers={"Accept-Encoding": "identity"})
        assert plain.content == compressed.content
        again = client.get(url + "/app.bundle.css", headers={"Accept-Encoding": "gzip"})
        assert again.headers["cache-control"] == "no-cache", "its name stays when its content changes"
        known = {"Accept-Encoding": "gzip", "If-None-Match": again.headers["etag"]}
        assert client.get(url + "/app.bundle.css", headers=known).status_code == 304
        assert client.head(url + "/app.bundle.css").status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/index.html",  # it has a page of its own, with its policy
        "/installed.json",
        "/app.bundle.css.gz",
        "/sw.js",
        "/assets",
        "/assets/",
        "/assets/../installed.json",
        "/assets/..%2finstalled.json",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/App.bundle.css",
    ],
)
def test_no_other_name_is_served(url: str, path: str) -> None:
    transport = httpx.HTTPTransport()
    request = httpx.Request("GET", url, extensions={"target": path.encode()})
    response = transport.handle_request(request)
    response.read()
    assert response.status_code == 404


def test_files_are_for_reading(url: str) -> None:
    response = httpx.post(url + "/app.bundle.css")
    assert response.status_code == 405
    assert response.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize("query", ["", "?StudyInstanceUIDs=", "?StudyInstanceUIDs=<script>", "?url=http://x"])
def test_without_a_study_there_is_a_word_instead_of_a_viewer(url: str, query: str) -> None:
    response = httpx.get(f"{url}/viewer{query}")
    assert response.status_code == 400
    assert "No study is named" in response.text
    assert "<script" not in response.text


def test_where_it_is_not_installed_the_page_says_what_to_run(tmp_path: Path) -> None:
    node = reading_node(tmp_path / "node", NO_ARCHIVE, viewer=ViewerSettings(folder=tmp_path / "viewer"))
    with served(node, next_free_port()) as url:
        response = httpx.get(url + PAGE)
        assert response.status_code == 503
        assert "dicom-node viewer install" in response.text
        assert httpx.get(url + "/app-config.js").status_code == 404
        assert httpx.get(url + "/app.bundle.css").status_code == 404


def test_with_a_token_the_page_asks_for_it_and_its_files_do_not(viewer_folder: Path, tmp_path: Path) -> None:
    """The files are the package's, open to everybody; nothing of a patient is in them."""
    node = reading_node(tmp_path / "node", NO_ARCHIVE, http=HttpSettings(token="s3cret"))  # noqa: S106
    with served(node, next_free_port()) as url:
        away = httpx.get(url + PAGE)
        assert (away.status_code, away.headers["location"]) == (303, f"/sign-in?next={quote(PAGE)}")
        with httpx.Client(base_url=url) as browser:
            wanted = parse_qs(urlsplit(away.headers["location"]).query)["next"][0]
            signed_in = browser.post("/sign-in", data={"token": "s3cret", "next": wanted}, headers=OWN)
            assert (signed_in.status_code, signed_in.headers["location"]) == (303, PAGE)
            assert browser.get(PAGE).status_code == 200
            # No archive is there: the proxy lets the request pass.
            assert browser.get("/dicom-web/studies/1.2.840.1/series").status_code == 503
        assert httpx.get(url + "/dicom-web/studies/1.2.840.1/series").status_code == 401
        assert httpx.get(url + PAGE, headers={"Authorization": "Bearer s3cret"}).status_code == 200
        assert httpx.get(url + "/manifest.json").status_code == 200


def test_the_configuration_names_no_host(url: str) -> None:
    response = httpx.get(url + "/app-config.js")
    assert response.headers["content-type"].startswith("text/javascript")
    assert response.text == app_config()
    assert not re.search(r"https?:|//[a-z]+\.", response.text)
    start = response.text.index("{")
    configuration, _ = json.JSONDecoder().raw_decode(response.text[start:])
    [source] = configuration["dataSources"]
    assert source["configuration"]["qidoRoot"] == source["configuration"]["wadoRoot"] == "/dicom-web"
    assert configuration["showStudyList"] is False
    assert f"MANUFACTURER = {json.dumps(MANUFACTURER)};" in response.text


def test_compressed_copies_are_of_the_files(viewer_folder: Path) -> None:
    for copy in sorted(viewer_folder.glob("*.css.gz")):
        assert gzip.decompress(copy.read_bytes()) == copy.with_suffix("").read_bytes()
