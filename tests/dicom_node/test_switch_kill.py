"""A node that is killed in the middle of an activation starts again, with one of the two bundles."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dicom_node.activation import ActivationBook
from tests.conftest import PROJECT
from tests.dicom_node.conftest import eventually
from tests.dicom_node.shelf import Shelf
from tests.dicom_node.switch_process import PLACES


def start(data_folder: Path, shelf: Shelf, *place: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.dicom_node.switch_process", str(data_folder), str(shelf.folder)]
    return subprocess.Popen([*command, *place], cwd=PROJECT, stdout=subprocess.PIPE, text=True)


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.parametrize("place", PLACES)
def test_node_killed_while_it_switches_starts_with_one_of_the_two(place: str, tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "bundles", "a", "b")
    data_folder = tmp_path / "node"
    killed = start(data_folder, shelf, place)
    try:
        assert said(killed) == "started with a"
        shelf.request(data_folder, "b")
        assert killed.wait(60) == -signal.SIGKILL
    finally:
        killed.kill()
        killed.communicate()
    book = ActivationBook(data_folder)
    again = start(data_folder, shelf)
    try:
        assert said(again) == "started with b"
        eventually(lambda: book.read().in_use == shelf.choice("b"))  # type: ignore[union-attr]
    finally:
        again.kill()
        again.communicate()
    activation = book.read()
    assert activation is not None
    assert activation.previous == shelf.choice("a")
    assert not activation.pending
