"""Reading processes that studies share: killed ones, forked copies, a node that dies, what is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from inference.analyse import Analyser
from inference.dicom_files import read_headers
from inference.reading_pool import MOST_IDLE, READERS
from inference.reading_process import ReadingInterruptedError, ReadingProcess
from inference.volume import read_volume
from tests.inference.codec_trap import trap
from tests.inference.synthetic import ct_image, ct_series, save

pytestmark = pytest.mark.usefixtures("fresh_processes")


def series_of_values(first: int, folder: Path) -> list[Path]:
    """24 slices, each filled with a HU of its own: `first` and those that follow."""
    images = [
        ct_image(index, np.full((12, 16), 1024 + first + index, np.int16), series=str(1000 + first))
        for index in range(24)
    ]
    return save(images, folder / str(first))


def values(paths: list[Path]) -> list[int]:
    volume = read_volume(paths)
    assert volume.warnings == ()
    assert (volume.voxels_hu == volume.voxels_hu[:, :1, :1]).all()
    return [int(value) for value in volume.voxels_hu[:, 0, 0]]


def idle_pids() -> list[int]:
    return [process._process.pid for process in READERS._idle if process._process is not None]


def wait_until(true: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.05)


def has_ended(pid: int) -> bool:
    """Whether a process is gone, or dead and not yet waited for by whoever took it over."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for file in listed for child in file.read_text(encoding="ascii").split()]


def test_a_process_killed_while_it_decodes_costs_no_slice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = str(tmp_path / "killed")
    once = f"os.path.exists({mark!r}) or (os.mkdir({mark!r}), os.kill(os.getpid(), 9))"
    trap(tmp_path / "trap", monkeypatch, once, 8)
    assert values(series_of_values(-500, tmp_path)) == list(range(-500, -476))
    assert Path(mark).exists()


def test_a_process_killed_with_a_request_says_that_no_file_is_to_blame(tmp_path: Path) -> None:
    (path,) = save([ct_image(0)], tmp_path)
    process = ReadingProcess()
    process.ask("header", path)  # it is still starting
    (pid,) = children(os.getpid())
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(ReadingInterruptedError):
        process.answer(0)
    process.ask("header", path)
    assert process.answer(0).found
    process.close()


def test_three_studies_at_a_time_are_read_right_while_processes_are_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    firsts = (-900, -500, 0)
    studies = [series_of_values(first, tmp_path) for first in firsts]
    asked: list[int] = []
    ask = ReadingProcess.ask

    def ask_and_kill(process: ReadingProcess, what: str, path: Path, frames: tuple[int, ...] = ()) -> None:
        ask(process, what, path, frames)  # type: ignore[arg-type]
        asked.append(1)
        if len(asked) in {5, 90} and process._process is not None:  # a header's and a frame's
            process._process.kill()

    monkeypatch.setattr(ReadingProcess, "ask", ask_and_kill)
    with ThreadPoolExecutor(3) as threads:
        answers = list(threads.map(values, studies))
    assert answers == [list(range(first, first + 24)) for first in firsts]
    assert len(asked) >= 3 * 24 * 2


def test_a_hundred_studies_leave_no_descriptor_and_no_process_behind(tmp_path: Path) -> None:
    paths = save(ct_series(3), tmp_path)
    read_volume(paths)

    def descriptors() -> int:
        """Those of this process without the two pipes of each reader, of which one may come later."""
        return len(list(Path("/proc/self/fd").iterdir())) - 2 * len(idle_pids())

    before = descriptors()
    for number in range(100):
        if number % 40 == 20:
            os.kill(idle_pids()[0], signal.SIGKILL)
        assert len(read_volume(paths).voxels_hu) == 3
    assert descriptors() == before
    assert sorted(children(os.getpid())) == sorted(idle_pids())
    assert not any(has_ended(pid) for pid in idle_pids())
    READERS.close()
    assert children(os.getpid()) == []


def test_processes_started_ahead_are_those_that_read(tmp_path: Path) -> None:
    READERS.start(2)
    started = idle_pids()
    assert len(set(started)) == 2
    READERS.start(2)
    assert idle_pids() == started
    read_volume(series_of_values(0, tmp_path))
    assert sorted(idle_pids()) == sorted(started)
    READERS.start(MOST_IDLE + 3)
    assert len(idle_pids()) == MOST_IDLE


def test_an_analyser_has_them_ready_before_its_first_study(bundle_folder: Path) -> None:
    Analyser(bundle_folder, threads=1)
    assert len(idle_pids()) == 1


def test_a_forked_copy_has_processes_of_its_own(tmp_path: Path) -> None:
    paths = save(ct_series(3), tmp_path)
    assert len(read_headers(paths).headers) == 3
    before = idle_pids()
    assert before
    copy = os.fork()
    if copy == 0:
        status = 1
        try:
            if (
                not idle_pids()
                and len(read_volume(paths).voxels_hu) == 3
                and not set(idle_pids()) & set(before)
            ):
                READERS.close()
                status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(copy, 0)[1]) == 0
    assert len(read_headers(paths).headers) == 3
    assert idle_pids() == before


# Each says so once the reading process is where it is to be when the node is killed.
_NODE = """
import sys, threading, time
from pathlib import Path
from inference.dicom_files import read_headers
from inference.reading_process import ReadingProcess
from inference.volume import read_volume

paths = sorted(Path(sys.argv[2]).iterdir())
if sys.argv[1] == "idle":
    read_headers(paths)
elif sys.argv[1] == "asleep in a codec":
    threading.Thread(target=read_volume, args=(paths,)).start()
    while not Path(sys.argv[3]).exists():
        time.sleep(0.05)
else:  # its answers are many, and nobody takes them
    process = ReadingProcess()
    process.ask("frames", paths[0], (0,) * 10_000)
    process.answer(0)
print("ready", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("doing", ["idle", "asleep in a codec", "answering"])
def test_reading_processes_end_with_a_node_that_is_killed(
    doing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "asleep"
    if doing == "asleep in a codec":
        trap(tmp_path / "trap", monkeypatch, f"os.mkdir({str(mark)!r}), time.sleep(3600)", 2)
    save(ct_series(3), tmp_path / "series")
    command = [sys.executable, "-c", textwrap.dedent(_NODE), doing, str(tmp_path / "series"), str(mark)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as node:
        assert node.stdout is not None
        assert node.stdout.readline() == b"ready\n"
        started = children(node.pid)
        assert started
        assert not any(has_ended(pid) for pid in started)
        node.kill()
    wait_until(lambda: all(has_ended(pid) for pid in started))
