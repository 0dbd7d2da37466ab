"""`dicom-node run` as a real process: up, told to end, and nothing left."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from dicom_node.orthanc import Orthanc
from dicom_node.settings import OrthancSettings
from tests.dicom_node.conftest import eventually, next_free_port
from tests.dicom_node.small_study import write_tiny_bundle
from tests.dicom_node.tested_bundle import alter_expectation, change_a_byte, write_tested_bundle


def processes_naming(text: str) -> list[int]:
    """Processes whose command line or environment names `text` (not this one)."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            continue
        if text.encode() in words and int(process.name) != os.getpid():
            found.append(int(process.name))
    return found


class Running:
    """A process of this test, with its settings file."""

    def __init__(self, folder: Path, command: str = "run", *options: str) -> None:
        write_tiny_bundle(folder / "bundles")
        self.data = folder / "site-data"
        self.http, self.orthanc_http, self.dicom = next_free_port(), next_free_port(), next_free_port()
        file = folder / "node.toml"
        file.write_text(
            f'data_folder = "{self.data}"\n'
            f"[http]\nport = {self.http}\n"
            f'[orthanc]\nurl = "http://127.0.0.1:{self.orthanc_http}"\ndicom_port = {self.dicom}\n'
            f'[worker]\nbundles_folder = "{folder / "bundles"}"\nthreads = 1\n'
        )
        self.command = [sys.executable, "-m", "dicom_node.cli", command, *options, "--settings", str(file)]

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_run_says_where_to_send_and_ends_when_told(orthanc_program: str, tmp_path: Path) -> None:
    running = Running(tmp_path, "run", "--with-orthanc")
    process = running.start()
    try:
        url = f"http://127.0.0.1:{running.http}"
        eventually(lambda: answers(f"{url}/ready"), timeout_s=60)
        archive = Orthanc(
            OrthancSettings(
                url=f"http://127.0.0.1:{running.orthanc_http}",
                username="node",
                password_file=running.data / "orthanc" / "password",
            )
        )
        assert archive.system()["DicomPort"] == running.dicom
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    assert f"DICOM-NODE at 127.0.0.1:{running.dicom}" in output
    assert f"look   {url}/ " in output
    assert "Traceback" not in errors
    assert processes_naming(str(running.data)) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundles", "node.toml", "site-data"]


def test_worker_takes_work_until_told(tmp_path: Path) -> None:
    process = Running(tmp_path, "worker").start()
    try:
        assert process.stdout is not None
        assert "worker ready" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    assert "Traceback" not in errors


def answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.parametrize(
    ("which", "setting"),
    [("http", "http.port"), ("orthanc_http", "orthanc.url"), ("dicom", "orthanc.dicom_port")],
)
def test_taken_port_is_said_before_anything_starts(
    orthanc_program: str, tmp_path: Path, which: str, setting: str
) -> None:
    running = Running(tmp_path, "run", "--with-orthanc")
    port = getattr(running, which)
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", port))  # noqa: S104 - as Orthanc would
        taken.listen()
        started = time.monotonic()
        process = running.start()
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert str(port) in errors
    assert setting in errors
    assert "Traceback" not in errors
    assert output == ""
    assert time.monotonic() - started < 30
    assert not (running.data / "orthanc" / "storage").exists()
    assert not (running.data / "ledger.sqlite").exists()


@pytest.mark.parametrize("command", ["run", "worker"])
@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (
            alter_expectation,
            "self_test_failed: in float32 this machine does not reproduce",
        ),
        (change_a_byte, "changed_file: supervised.safetensors"),
    ],
)
def test_bundle_that_is_changed_or_not_computed_rightly_never_becomes_ready(
    tmp_path: Path, command: str, harm: Callable[[Path], None], words: str
) -> None:
    running = Running(tmp_path, command)
    folder = write_tested_bundle(tmp_path / "bundles")
    harm(folder)
    process = running.start()
    url = f"http://127.0.0.1:{running.http}/ready"
    while process.poll() is None:
        assert not answers(url)
        time.sleep(0.2)
    output, errors = process.communicate()
    assert process.returncode == 1
    assert words in errors
    assert "Traceback" not in errors
    assert output == ""
