"""What strangers' files cost that crash, hang or burst: an answer, and never the process of the node."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import inference.reading_pool
import inference.reading_process
from inference.decoding import FrameRequest, decode, decode_frame
from inference.dicom_files import read_header, read_headers
from inference.errors import Refusal, RefusalCode
from inference.header_json import header_from_json, header_to_json
from inference.header_parsing import parse_header
from inference.reading_process import MOST_STARTS, ReadingProcess
from inference.volume import read_volume
from tests.inference.codec_trap import DEEDS, trap
from tests.inference.synthetic import ct_image, ct_series, save
from tests.inference.test_multi_frame import enhanced

pytestmark = pytest.mark.usefixtures("fresh_processes")


@pytest.mark.parametrize("deed", DEEDS)
def test_a_codec_that_misbehaves_costs_one_slice(
    deed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trap(tmp_path / "trap", monkeypatch, deed, 8)
    volume = read_volume(save(ct_series(24), tmp_path / "series"))
    assert len(volume.voxels_hu) == 24
    assert volume.warnings[0] == (
        "The pixels of 1 slice(s) cannot be decoded and were left out: at z = -282.5 mm."
    )
    assert (volume.voxels_hu == -1000).all()


@pytest.mark.parametrize("deed", ["segfault", "memory"])
def test_a_study_of_such_slices_is_refused_and_the_next_is_read(
    deed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trap(tmp_path / "trap", monkeypatch, deed, *range(101, 125))
    bad = save(ct_series(24, lambda index: {"InstanceNumber": 101 + index}), tmp_path / "bad")
    with pytest.raises(Refusal) as caught:
        read_volume(bad)
    assert caught.value.code is RefusalCode.UNREADABLE_PIXELS
    assert len(read_volume(save(ct_series(24), tmp_path / "good")).voxels_hu) == 24


def test_a_file_of_many_frames_costs_few_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trap(tmp_path / "trap", monkeypatch, "segfault", 1)
    (path,) = save([enhanced(40)], tmp_path / "series")
    started: list[int] = []
    start = inference.reading_process._start
    monkeypatch.setattr(inference.reading_process, "_start", lambda: (started.append(1), start())[1])
    (frames,) = decode([FrameRequest(path, tuple(range(40)))])
    assert [frame.hu for frame in frames] == [None] * 40
    assert len(started) == MOST_STARTS


def test_a_process_that_died_between_two_files_is_started_again(tmp_path: Path) -> None:
    (path,) = save([ct_image(0)], tmp_path)
    process = ReadingProcess()
    process.ask("header", path)
    assert process.answer(0).found
    assert process._process is not None
    process._process.kill()
    process._process.wait()
    process.ask("header", path)
    assert process.answer(0).found
    process.close()


def test_the_pool_forgets_processes_that_died(tmp_path: Path) -> None:
    paths = save(ct_series(3), tmp_path)
    assert len(read_headers(paths).headers) == 3
    for process in inference.reading_pool.READERS._idle:
        assert process._process is not None
        process._process.kill()
        process._process.wait()
    assert read_header(paths[0]) is not None
    assert decode_frame(paths[0], 0).hu is not None


def test_the_process_knows_no_secret_of_the_node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DICOM_NODE_ORTHANC_PASSWORD", "hidden")
    process = ReadingProcess()
    process.ask("header", tmp_path / "absent")
    assert not process.answer(0).found
    assert process._process is not None
    environment = Path(f"/proc/{process._process.pid}/environ").read_bytes()
    assert b"PATH=" in environment
    assert b"hidden" not in environment
    process.close()


def test_a_header_survives_the_way_between_the_processes(tmp_path: Path) -> None:
    for index, image in enumerate((ct_image(0), ct_image(0, ImagePositionPatient=None), enhanced(30))):
        (path,) = save([image], tmp_path / str(index))
        header = parse_header(path)
        assert header is not None
        assert header_from_json(header_to_json(header)) == header
        assert read_header(path) == header


def test_frames_come_in_the_order_of_the_requests(tmp_path: Path) -> None:
    images = [ct_image(index, np.full((12, 16), index, np.int16)) for index in range(40)]
    paths = [path for _, path in sorted(zip(range(40), save(images, tmp_path), strict=True))]
    answers = list(decode([FrameRequest(path, (0,)) for path in paths], workers=3))
    assert [int(frame.hu[0, 0]) for (frame,) in answers if frame.hu is not None] == list(range(-1024, -984))
