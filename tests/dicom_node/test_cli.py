"""The commands as a person types them: what is printed where, and how they end."""

from __future__ import annotations

import json
import logging
import socket
import subprocess
import sys
import threading
import warnings
import zipfile
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from click.testing import Result
from pydicom import dcmread
from typer.testing import CliRunner

from dicom_node.cli import app
from tests.dicom_node.conftest import Pacs, next_free_port
from tests.dicom_node.small_study import SLICES, write_small_chest, write_tiny_bundle
from tests.dicom_node.studies import PATIENT, write_chest, write_scout

KEYS = {
    "study_uid",
    "series_uid",
    "probability_of_pathology",
    "pathology",
    "most_dangerous_pathology_type",
    "processing_status",
    "time_of_processing",
}


@pytest.fixture(scope="module")
def chest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study") / "chest"
    write_small_chest(folder)
    (folder / "LICENSE").write_text("not DICOM")
    return folder


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles")
    write_tiny_bundle(folder)
    return folder


@pytest.fixture(autouse=True)
def logging_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command configures logging for its process, and this process has other tests."""
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    monkeypatch.setattr(logging.getLogger(), "level", logging.WARNING)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)


@pytest.fixture(autouse=True)
def data_folder(tmp_path: Path, bundles: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This test's own data folder and bundles, in the environment as a site would set them."""
    monkeypatch.setenv("DICOM_NODE_DATA_FOLDER", str(tmp_path / "data"))
    monkeypatch.setenv("DICOM_NODE_WORKER__BUNDLES_FOLDER", str(bundles))
    monkeypatch.setenv("DICOM_NODE_WORKER__THREADS", "1")
    return tmp_path / "data"


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(item) for item in arguments])


def predicted(*arguments: object) -> tuple[dict[str, Any], Result]:
    result = call("predict", *arguments)
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer, result


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys; from typer.testing import CliRunner; from dicom_node.cli import app;"
        "result = CliRunner().invoke(app, ['--help']); assert result.exit_code == 0;"
        "heavy = ('torch', 'dbos', 'pynetdicom', 'highdicom', 'numpy');"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_predict_answers_alike_about_folder_and_zip(chest: Path, data_folder: Path, tmp_path: Path) -> None:
    answer, result = predicted(chest)
    assert result.exit_code == 0, result.output
    assert set(answer) == KEYS
    assert answer["processing_status"] == "Success"
    assert type(answer["probability_of_pathology"]) is float
    assert answer["pathology"] in {0, 1}
    assert "not for diagnosis" in result.stderr
    assert "100%" in result.stderr

    archive = tmp_path / "study.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for file in sorted(chest.iterdir(), reverse=True):
            packed.write(file, f"any/{file.name}")
    again, result = predicted(archive)
    assert result.exit_code == 0
    assert {**again, "time_of_processing": 0} == {**answer, "time_of_processing": 0}
    files, result = predicted(*sorted(chest.glob("*.dcm")))
    assert {**files, "time_of_processing": 0} == {**answer, "time_of_processing": 0}
    assert list((data_folder / "uploads").iterdir()) == []


def test_predict_details(chest: Path) -> None:
    answer, result = predicted(chest, "--details", "--bundle", "demo")
    assert result.exit_code == 0
    assert set(answer) == KEYS | {"details"}
    details = answer["details"]
    assert set(details["member_scores"]) >= {"ctclip", "supervised", "diffusion"}
    assert set(details["fusion"]["columns"]) == set(details["fusion"]["contributions"])
    assert {"read", "lungs", "prepare", "ctclip", "supervised", "diffusion", "fusion"} <= set(
        details["seconds"]
    )
    assert [item["instances"] for item in details["series"] if item["chosen"]] == [SLICES]
    # At full precision: written and read again, nothing is lost.
    score = details["member_scores"]["supervised"]["Lung nodule"]
    assert len(str(score)) > 8
    assert "not for diagnosis" in details["notice"]


def test_predict_nifti(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(-1000, 400, (60, 60, 40)).astype(np.int16)
    file = tmp_path / "Case 7.nii.gz"
    nibabel.save(nibabel.Nifti1Image(values, np.diag([4.0, 4.0, 5.0, 1.0])), file)
    answer, result = predicted(file)
    assert result.exit_code == 0, result.output
    assert answer["study_uid"] == "nifti_Case 7"
    assert answer["series_uid"] == "nifti_Case 7_series"


def test_predict_reads_the_study_that_is_asked_for(chest: Path, tmp_path: Path, data_folder: Path) -> None:
    archive = tmp_path / "two.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for file in [*chest.glob("*.dcm"), *write_scout(tmp_path, "scout")]:
            packed.write(file, file.name)
    asked = str(dcmread(next(chest.glob("*.dcm")), stop_before_pixels=True).StudyInstanceUID)
    answer, result = predicted(archive, "--study-uid", asked)
    assert result.exit_code == 0, result.output
    assert answer["study_uid"] == asked
    # The scout's patient is another one.
    for arguments, code in [((), "mixed_patients"), (("--study-uid", "1.2.3"), "study_not_found")]:
        answer, result = predicted(archive, *arguments)
        assert result.exit_code == 1
        assert answer["error"].startswith(f"{code}: ")
        assert PATIENT.patient_id not in result.output
    assert list((data_folder / "uploads").iterdir()) == []


def test_predict_failures_are_json_and_exit_code_1(tmp_path: Path, chest: Path) -> None:
    scout = write_scout(tmp_path, "scout")[0].parent
    empty = tmp_path / "empty"
    empty.mkdir()
    bad = tmp_path / "bad.zip"
    bad.write_bytes(b"PK\x03\x04 truncated")
    text = tmp_path / "text.zip"
    text.write_text("This is a letter.")
    nothing = tmp_path / "nothing.zip"
    nothing.touch()
    for path, code in [
        (scout, "no_ct_series"),
        (empty, "not_dicom"),
        (bad, "not_a_zip"),
        (text, "not_a_zip"),
        (nothing, "not_a_zip"),
        (tmp_path / "absent", "not_found"),
    ]:
        answer, result = predicted(path)
        assert result.exit_code == 1
        assert set(answer) == KEYS | {"error"}
        assert answer["error"].startswith(f"{code}: ")
        assert answer["processing_status"] == "Failure"
        assert PATIENT.patient_id not in result.output
    answer, result = predicted(chest, "--bundle", "absent")
    assert result.exit_code == 1
    assert answer["error"].startswith("not_found: ")


def test_predict_with_a_changed_bundle_says_which_file(chest: Path, tmp_path: Path) -> None:
    folder = write_tiny_bundle(tmp_path / "other", "changed")
    (folder / "fusion.txt").write_text("changed")
    answer, result = predicted(chest, "--bundle", folder)
    assert result.exit_code == 1
    assert answer["error"].startswith("changed_file: fusion.txt")
    verified = call("bundle", "verify", folder)
    assert verified.exit_code == 1
    assert "fusion.txt" in verified.stderr


def test_bundle_commands(bundles: Path) -> None:
    assert "* demo" in call("bundle", "list").stdout
    shown = call("bundle", "show").stdout
    assert "not for diagnosis" in shown
    assert "ctclip, supervised, diffusion" in shown
    verified = call("bundle", "verify", "demo")
    assert verified.exit_code == 0
    assert "intact" in verified.stdout
    assert call("bundle", "show", "absent").exit_code == 1


def test_send_as_a_scanner(tmp_path: Path, pacs: Pacs) -> None:
    files = write_chest(tmp_path, "a")
    (files[0].parent / "README").write_text("not DICOM")
    result = call("send", files[0].parent, "--to", f"PACS@127.0.0.1:{pacs.port}")
    assert result.exit_code == 0, result.output
    assert "24 of 24 objects stored" in result.stdout
    assert "1 files left out" in result.stdout
    assert len(pacs.received) == 24


def test_send_says_why_it_could_not(tmp_path: Path, pacs: Pacs) -> None:
    folder = write_scout(tmp_path, "a")[0].parent
    assert call("send", folder, "--to", "PACS:104").exit_code == 2
    assert call("send", folder, "--to", "PACS@host:99999").exit_code == 2
    port = next_free_port()
    unreachable = call("send", folder, "--to", f"PACS@127.0.0.1:{port}")
    assert unreachable.exit_code == 1
    assert str(port) in unreachable.stderr
    stranger = call("send", folder, "--to", f"NOBODY@127.0.0.1:{pacs.port}")
    assert stranger.exit_code == 1
    assert "rejected" in stranger.stderr
    assert call("send", tmp_path / "absent", "--to", f"PACS@127.0.0.1:{pacs.port}").exit_code == 1


def test_doctor_names_what_is_missing(orthanc_program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ports = [next_free_port() for _ in range(3)]
    monkeypatch.setenv("DICOM_NODE_HTTP__PORT", str(ports[0]))
    monkeypatch.setenv("DICOM_NODE_ORTHANC__URL", f"http://127.0.0.1:{ports[1]}")
    monkeypatch.setenv("DICOM_NODE_ORTHANC__DICOM_PORT", str(ports[2]))
    healthy = call("doctor")
    assert "missing" not in healthy.stdout, healthy.stdout
    assert healthy.exit_code == 0
    monkeypatch.setenv("DICOM_NODE_WORKER__BUNDLE", "absent")
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", ports[2]))  # noqa: S104 - as Orthanc would
        taken.listen()
        ill = call("doctor")
    assert ill.exit_code == 1
    lines = [line for line in ill.stdout.splitlines() if line.startswith("missing")]
    assert len(lines) == 2
    assert f"port {ports[2]}" in lines[0]
    assert "orthanc.dicom_port" in lines[0]
    assert "bundle absent" in lines[1]


def test_settings_that_are_wrong_are_named_without_their_value(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text('[http]\nport = "geheim"\nunknown = 1\n')
    result = call("doctor", "--settings", file)
    assert result.exit_code == 1
    assert "http.port" in result.stderr
    assert "http.unknown" in result.stderr
    assert "geheim" not in result.output
    file.write_text("[http\n")
    assert "not TOML" in call("doctor", "--settings", file).stderr
    absent = call("doctor", "--settings", tmp_path / "absent.toml")
    assert absent.exit_code == 1
    assert "absent.toml" in absent.stderr


@pytest.mark.parametrize("content", [None, "", "folder"])
def test_secret_file_that_holds_no_secret_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    secret = tmp_path / "token"
    if content == "folder":
        secret.mkdir()
    elif content is not None:
        secret.write_text(content)
    monkeypatch.setenv("DICOM_NODE_HTTP__HOST", "0.0.0.0")  # noqa: S104 - nothing is started
    monkeypatch.setenv("DICOM_NODE_HTTP__TOKEN_FILE", str(secret))
    result = call("doctor")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"the secret file {secret} ")


def test_settings_that_cannot_be_read_are_said_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "node.toml"
    file.write_bytes(b'[http]\nhost = "\xff"\n')
    assert "cannot be read" in call("doctor", "--settings", file).stderr
    monkeypatch.setenv("DICOM_NODE_DATABASE_URL", "geheim")
    wrong = call("doctor")
    assert wrong.stderr.startswith("database_url: ")
    assert "geheim" not in wrong.stderr
    monkeypatch.delenv("DICOM_NODE_DATABASE_URL")
    monkeypatch.setenv("DICOM_NODE_DESTINATIONS", "geheim")
    wrong = call("doctor")
    assert wrong.exit_code == 1
    assert "destinations" in wrong.stderr
    assert "geheim" not in wrong.stderr


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("DATA_FOLDER", "/dev/null/node", "the data folder /dev/null/node cannot be used: Not a directory"),
        ("DATABASE_URL", "sqlite:////dev/null/x", "the ledger's database cannot be used: unable to open"),
        ("DATABASE_URL", "absent://host/x", "the ledger's database cannot be used: "),
        ("HTTP__HOST", "localhost.invalid", "port 8000 for the node's HTTP (setting http.port) cannot be"),
    ],
)
def test_site_that_cannot_be_used_is_said_in_words(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    monkeypatch.setenv("DICOM_NODE_HTTP__TOKEN", "secret")
    monkeypatch.setenv("DICOM_NODE_HTTP__PORT", "8000" if name == "HTTP__HOST" else str(next_free_port()))
    monkeypatch.setenv(f"DICOM_NODE_{name}", value)
    result = call("run")
    assert result.exit_code == 1
    assert result.stderr.startswith(words)
    assert len(result.stderr.splitlines()) == 1
