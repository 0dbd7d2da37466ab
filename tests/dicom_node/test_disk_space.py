"""A disk without room: the upload is refused in words, and what was written of it is gone."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

import inference.reading_pool
from dicom_node.disk_space import refused_without_space
from dicom_node.errors import describe_fault
from dicom_node.node import Node
from dicom_node.settings import HttpSettings, OrthancSettings, Settings
from dicom_node.uploads import receive_nifti, receive_paths, receive_zip
from inference.errors import RefusalCode, UploadRefusal
from tests.dicom_node.conftest import next_free_port
from tests.dicom_node.http_server import served, zipped
from tests.dicom_node.stand_in import StandInAnalyser
from tests.dicom_node.studies import study_uid, write_chest
from tests.dicom_node.test_uploads import nifti, packed

LARGEST = 3 << 20
SMALL_DISK = 12 << 20
"""The databases of a node take 1 MB of it."""


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """The system writes as much of a file as may be, and then fails, as it does on a disk that gets full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def by_zip(source: Path, folder: Path) -> object:
    source.write_bytes(packed({"image": os.urandom(LARGEST)}, zipfile.ZIP_STORED))
    with files_of_at_most(LARGEST - 1000):
        return receive_zip(source, HttpSettings(), folder)


def by_path(source: Path, folder: Path) -> object:
    source.write_bytes(packed({"a": b"a", "image": os.urandom(LARGEST)}, zipfile.ZIP_STORED))
    with files_of_at_most(LARGEST - 1000):
        return receive_paths([source, source], HttpSettings(), folder)


def by_nifti(source: Path, folder: Path) -> object:
    source.write_bytes(nifti(LARGEST))
    with files_of_at_most(LARGEST - 1000):
        return receive_nifti(source, "a.nii", HttpSettings(), folder)


@pytest.mark.parametrize("receive", [by_zip, by_path, by_nifti])
def test_a_file_is_never_cut_off_in_silence(receive: Callable[[Path, Path], object], tmp_path: Path) -> None:
    """The last write is a short one: the system says so by a number, and fails at the next write alone."""
    with pytest.raises(UploadRefusal) as caught:
        receive(tmp_path / "upload", tmp_path / "files")
    assert caught.value.code is RefusalCode.NO_SPACE
    assert "no room" in caught.value.sentence
    assert "administrator" in caught.value.remedy


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_quota_is_a_full_disk_too(number: int) -> None:
    with pytest.raises(UploadRefusal), refused_without_space():
        raise OSError(number, os.strerror(number), "/data/Geheim^Niemand")


def test_other_faults_stay_faults_with_the_systems_words_and_no_path() -> None:
    with pytest.raises(PermissionError) as caught, refused_without_space():
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/data/Geheim^Niemand")
    assert describe_fault(caught.value).startswith("PermissionError (Permission denied) at test_disk_space")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK}", "tmpfs", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("only root may mount a file system")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def url(small_disk: Path) -> Iterator[str]:
    settings = Settings(
        data_folder=small_disk / "node",
        orthanc=OrthancSettings(url=f"http://127.0.0.1:{next_free_port()}"),
    )
    node = Node(settings, analyser=StandInAnalyser(), intake=False)
    node.start()
    with served(node, next_free_port()) as url:
        yield url
    node.stop()
    inference.reading_pool.READERS.close()


def post(url: str, data: bytes, path: str = "/predict") -> httpx.Response:
    return httpx.post(f"{url}{path}", files={"file": ("study.zip", data)}, timeout=60)


def test_a_full_disk_is_507_and_nothing_is_left_behind(url: str, small_disk: Path, tmp_path: Path) -> None:
    uploads = small_disk / "node" / "uploads"
    empty = packed({"image": bytes(SMALL_DISK + (1 << 20))})
    bodies = {
        "while it is received": ("/predict", packed({"a": os.urandom(SMALL_DISK)}, zipfile.ZIP_STORED)),
        "while it is unpacked": ("/predict", empty),
        "a volume": ("/predict_nifti", nifti(SMALL_DISK - (3 << 20))),
    }
    for kind, (path, body) in bodies.items():
        answer = post(url, body, path)
        assert answer.status_code == 507, kind
        assert answer.json()["processing_status"] == "Failure"
        assert answer.json()["error"].startswith("no_space: The node's disk"), kind
        assert list(uploads.iterdir()) == [], kind
    # What was refused for want of room has not taken any.
    response = post(url, zipped(write_chest(tmp_path, "small")))
    assert response.status_code == 200, response.text
    assert response.json()["study_uid"] == study_uid("small")


def test_a_database_without_room_is_507(url: str, small_disk: Path, tmp_path: Path) -> None:
    """An upload that fits, and a ledger that does not."""
    data = zipped(write_chest(tmp_path, "row"))
    free = os.statvfs(small_disk)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(free.f_bavail * free.f_frsize - 2 * len(data) - (1 << 15)))
    answers = []
    for number in range(200):
        answers.append(post(url, zipped(write_chest(tmp_path, f"row {number}", slices=20 + number % 2))))
        if answers[-1].status_code != 200:
            break
    assert answers[-1].status_code == 507, answers[-1].text
    ballast.unlink()
    assert post(url, data).status_code == 200
    assert list((small_disk / "node" / "uploads").iterdir()) == []
