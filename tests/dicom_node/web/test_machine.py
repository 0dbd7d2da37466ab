from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from dicom_node.web.machine import Share, look_at_machine


def test_the_disk_is_that_of_the_data_folder(tmp_path: Path) -> None:
    machine = look_at_machine(tmp_path, "cpu")
    assert machine.disk.total == shutil.disk_usage(tmp_path).total
    assert 0 <= machine.disk.used <= machine.disk.total
    assert machine.cores == os.cpu_count()
    assert machine.card is None
    assert machine.memory is not None
    assert 0 < machine.memory.used < machine.memory.total
    assert machine.memory.total == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_a_card_is_asked_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def mem_get_info(device: str) -> tuple[int, int]:
        asked.append(device)
        return 3 << 30, 4 << 30

    cuda = SimpleNamespace(mem_get_info=mem_get_info)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    assert look_at_machine(tmp_path, "cuda:1").card == Share(1 << 30, 4 << 30)
    assert asked == ["cuda:1"]


def test_what_is_left() -> None:
    assert Share(75, 100).free_percent == 25
    assert Share(0, 0).free_percent == 0
