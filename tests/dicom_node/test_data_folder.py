from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dicom_node.data_folder import DataFolder, write_once
from dicom_node.errors import ExecutorTaken, SiteProblem
from tests.conftest import PROJECT


def test_file_is_written_once(tmp_path: Path) -> None:
    file = tmp_path / "results" / "result.json"
    write_once(file, b"first")
    write_once(file, b"second")
    assert file.read_bytes() == b"first"
    assert [path.name for path in file.parent.iterdir()] == ["result.json"]


def test_file_that_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_once(tmp_path / "result.json", b"answer")
    assert list(tmp_path.iterdir()) == []


def test_of_two_processes_that_write_one_file_the_first_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "result.json"
    fsync = os.fsync

    def overtaken(descriptor: int) -> None:
        fsync(descriptor)
        if not file.exists():
            file.write_bytes(b"the other's")

    monkeypatch.setattr("os.fsync", overtaken)
    write_once(file, b"ours")
    assert file.read_bytes() == b"the other's"
    assert list(tmp_path.iterdir()) == [file]


def test_folder_that_cannot_be_used_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(SiteProblem, match=r"the data folder .*file cannot be used: "):
        DataFolder(tmp_path / "file").create()


def test_installation_keeps_its_uid(tmp_path: Path) -> None:
    uid = DataFolder(tmp_path).installation_uid()
    assert uid.startswith("2.25.")
    assert len(uid) <= 64
    assert DataFolder(tmp_path).installation_uid() == uid
    assert DataFolder(tmp_path / "other").installation_uid() != uid


def test_only_the_node_looks_into_its_folder(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "node")
    folder.create()
    assert folder.root.stat().st_mode & 0o077 == 0


def test_two_processes_cannot_have_one_name_and_a_killed_one_gives_it_back(tmp_path: Path) -> None:
    hold = (
        "import sys, time; from pathlib import Path; from dicom_node.data_folder import *\n"
        "DataFolder(Path(sys.argv[1])).executor_lock('node-1').acquire()\n"
        "print('held', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", hold, tmp_path], cwd=PROJECT, stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        lock = DataFolder(tmp_path).executor_lock("node-1")
        with pytest.raises(ExecutorTaken, match="another node works in"):
            lock.acquire()
        DataFolder(tmp_path).executor_lock("node-2").acquire()
    finally:
        other.kill()
        other.wait()
    lock.acquire()
    lock.release()
