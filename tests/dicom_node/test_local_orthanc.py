from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dicom_node import local_orthanc
from dicom_node.errors import OrthancFailed, PortTaken
from dicom_node.local_orthanc import LocalOrthanc, find_orthanc, require_free_port
from dicom_node.orthanc import Orthanc
from tests.conftest import PROJECT
from tests.dicom_node.conftest import eventually


@pytest.mark.parametrize("which", ["http", "dicom"])
def test_taken_port_is_named_before_anything_starts(
    which: str, free_port: Callable[[], int], tmp_path: Path
) -> None:
    ports = {"http": free_port(), "dicom": free_port()}
    orthanc = LocalOrthanc(tmp_path / "archive", http_port=ports["http"], dicom_port=ports["dicom"])
    with socket.socket() as other:
        other.bind(("127.0.0.1", ports[which]))
        other.listen()
        with pytest.raises(PortTaken, match=f"port {ports[which]} for Orthanc's {which.upper()} is in use"):
            orthanc.start()
    assert not orthanc.running
    assert not (tmp_path / "archive").exists()


def test_free_port_is_free(free_port: Callable[[], int]) -> None:
    require_free_port(free_port(), "a test's")


def test_missing_orthanc_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_orthanc.shutil, "which", lambda *_, **__: None)
    with pytest.raises(OrthancFailed, match="apt-get install orthanc orthanc-python orthanc-dicomweb"):
        find_orthanc()


def test_everything_lies_in_its_folder_and_survives_a_restart(
    make_orthanc: Callable[..., LocalOrthanc], tmp_path: Path
) -> None:
    orthanc = make_orthanc()
    password = orthanc.settings().password
    assert {path.name for path in (tmp_path / "archive").iterdir()} == {"storage", "orthanc.log", "password"}
    orthanc.stop()
    assert not orthanc.running
    orthanc.start()
    assert orthanc.settings().password == password
    assert Orthanc(orthanc.settings()).system()["DicomAet"] == "DICOM-NODE"


def test_it_ends_when_the_process_that_started_it_is_killed(
    orthanc_program: str, free_port: Callable[[], int], tmp_path: Path
) -> None:
    ports = free_port(), free_port()
    code = (
        "import sys, time; from pathlib import Path; from dicom_node.local_orthanc import LocalOrthanc\n"
        f"LocalOrthanc(Path(sys.argv[1]), http_port={ports[0]}, dicom_port={ports[1]}).start()\n"
        "print('started', flush=True); time.sleep(60)"
    )
    starter = subprocess.Popen([sys.executable, "-c", code, tmp_path], cwd=PROJECT, stdout=subprocess.PIPE)
    assert starter.stdout is not None
    assert starter.stdout.readline() == b"started\n"
    starter.kill()
    starter.wait()
    eventually(lambda: _are_free(ports), 5)


def _are_free(ports: tuple[int, int]) -> bool:
    try:
        for port in ports:
            require_free_port(port, "a test's")
    except PortTaken:
        return False
    return True
