"""docker-compose.yml and Dockerfile against the project that they pack: same settings, same files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from dicom_node.settings_file import load_settings
from dicom_node.viewer.package import OHIF

PROJECT = Path(__file__).resolve().parents[2]
NODES = ("node", "node-nvidia")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((PROJECT / "docker-compose.yml").read_text(encoding="utf-8"))
    return loaded


@pytest.fixture(scope="module")
def dockerfile() -> str:
    return (PROJECT / "Dockerfile").read_text(encoding="utf-8")


def _shell_defaults(text: str, environment: dict[str, str]) -> str:
    """`${NAME:-default}` and `${NAME}` replaced, as Compose and Orthanc do it."""

    def value(match: re.Match[str]) -> str:
        return environment.get(match["name"], match["default"] or "")

    return re.sub(r"\$\{(?P<name>\w+)(?::-(?P<default>[^}]*))?\}", value, text)


def _environment(service: dict[str, Any]) -> dict[str, str]:
    return {key: _shell_defaults(str(value), {}) for key, value in service["environment"].items()}


def test_every_service_is_pinned_healthy_and_restarted(compose: dict[str, Any]) -> None:
    assert set(compose["services"]) == {"orthanc", *NODES}
    for name, service in compose["services"].items():
        assert service["healthcheck"]["test"][0] == "CMD", name
        assert service["restart"] == "unless-stopped"
        tag = service["image"].rpartition(":")[2]
        assert tag not in {"", "latest"}
        assert "build" in service or re.fullmatch(r"[\w/]+:\d+\.\d+\.\d+", service["image"])


def test_secrets_come_from_files_and_stand_in_no_environment(compose: dict[str, Any]) -> None:
    for secret in compose["secrets"].values():
        assert secret["file"].startswith("./secrets/")
    for service in compose["services"].values():
        assert set(service["secrets"]) <= set(compose["secrets"])
        for key, value in service["environment"].items():
            assert not re.search(r"PASSWORD|TOKEN", key) or str(value).startswith("/run/secrets/"), key


@pytest.mark.parametrize("name", NODES)
def test_the_nodes_environment_is_a_valid_tree_of_settings(
    compose: dict[str, Any], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_text("s3cret\n", encoding="utf-8")
    (tmp_path / "node.toml").write_text("", encoding="utf-8")
    for key, value in _environment(compose["services"][name]).items():
        text = re.sub(r"^/run/secrets/\w+$", str(tmp_path / "secret"), value)
        monkeypatch.setenv(key, text.replace("/etc/dicom-node", str(tmp_path)))
    settings = load_settings()
    assert settings.http.host == "0.0.0.0"  # noqa: S104 - inside the container
    assert settings.http.bearer_token() == "s3cret"
    assert settings.orthanc.credentials() == ("node", "s3cret")
    assert settings.orthanc.url == "http://orthanc:8042"


def test_orthanc_reads_our_configuration_with_the_composes_variables(compose: dict[str, Any]) -> None:
    service = compose["services"]["orthanc"]
    template = (PROJECT / "orthanc_config/orthanc.json").read_text(encoding="utf-8")
    environment = {**_environment(service), "ORTHANC_PASSWORD": "s3cret"}
    unknown = {key for key in environment if key != "TCP_NODELAY" and f"${{{key}" not in template}
    assert not unknown, "variables that the configuration does not use"
    text = re.sub(r"^\s*//.*$", "", _shell_defaults(template, environment), flags=re.MULTILINE)
    configuration = json.loads(text)
    assert configuration["RegisteredUsers"] == {"node": "s3cret"}
    assert configuration["AuthenticationEnabled"] is True
    assert configuration["DicomAet"] == "DICOM-NODE"
    assert configuration["DicomNode"]["Url"] == "http://dicom-node:8000"
    assert configuration["StableAge"] == 60
    mounted = {volume.split(":")[1] for volume in service["volumes"]}
    assert configuration["PythonScript"] in mounted
    assert configuration["StorageDirectory"] in mounted
    assert service["entrypoint"][-1].split()[-1] in mounted


def test_what_is_mounted_or_copied_exists(compose: dict[str, Any], dockerfile: str) -> None:
    for service in compose["services"].values():
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            if source.startswith("./") and source != "./node.toml":  # made by scripts/prepare-compose.sh
                assert (PROJECT / source).exists(), source
            elif not source.startswith("./"):
                assert source in compose["volumes"]
    copied = {
        source
        for line in re.findall(r"^COPY (.+)$", dockerfile, flags=re.MULTILINE)
        for source in line.split()[:-1]
    }
    for source in copied:
        assert (PROJECT / source).exists(), source
    assert {
        "models",
        "inference",
        "structured_report",
        "dicom_node",
        "orthanc_config",
        "best_models",
    } <= copied


def test_the_nvidia_service_asks_for_a_gpu_and_its_image_uses_it(
    compose: dict[str, Any], dockerfile: str
) -> None:
    service = compose["services"]["node-nvidia"]
    [device] = service["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]
    stages = re.findall(r"^FROM \S+ AS (\S+)$", dockerfile, flags=re.MULTILINE)
    assert service["build"]["target"] in stages
    assert compose["services"]["node"]["build"]["target"] in stages
    nvidia = dockerfile.split("AS nvidia", 1)[1]
    assert "DICOM_NODE_WORKER__DEVICE=cuda" in nvidia


def test_the_image_holds_the_pinned_viewer(dockerfile: str) -> None:
    """Fetched by npm in a stage of its own, checked by the command that unpacks it where the node looks."""
    assert f"npm pack --ignore-scripts {OHIF.specifier} " in dockerfile
    unpacked = dockerfile.index("dicom-node viewer install --from /mnt/viewer/package.tgz")
    assert dockerfile.index("pip install --no-deps") < unpacked < dockerfile.index("USER node")
    assert "DICOM_NODE_VIEWER__FOLDER" not in dockerfile


def test_the_image_is_pinned_and_does_not_run_as_root(dockerfile: str) -> None:
    assert re.search(r"^FROM python:3\.11-slim-bookworm AS node$", dockerfile, flags=re.MULTILINE)
    assert "-c requirements/lock.txt" in dockerfile
    assert re.search(r"^USER node$", dockerfile, flags=re.MULTILINE)
