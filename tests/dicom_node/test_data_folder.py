from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dicom_node.data_folder import DataFolder, ExecutorLock, write_once
from dicom_node.errors import ExecutorTaken
from tests.conftest import PROJECT


def test_file_is_written_once(tmp_path: Path) -> None:
    file = tmp_path / "results" / "result.json"
    write_once(file, b"first")
    write_once(file, b"second")
    assert file.read_bytes() == b"first"
    assert [path.name for path in file.parent.iterdir()] == ["result.json"]


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
        "ExecutorLock(DataFolder(Path(sys.argv[1])), 'node-1').acquire()\n"
        "print('held', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", hold, tmp_path], cwd=PROJECT, stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        lock = ExecutorLock(DataFolder(tmp_path), "node-1")
        with pytest.raises(ExecutorTaken, match="another node works in"):
            lock.acquire()
        ExecutorLock(DataFolder(tmp_path), "node-2").acquire()
    finally:
        other.kill()
        other.wait()
    lock.acquire()
    lock.release()
