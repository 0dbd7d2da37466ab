"""One DICOM file, from its header to its pixels and to what a report takes over from it."""

from __future__ import annotations

from pathlib import Path

from pydicom.dataset import Dataset

from fuzz.dicom_mutation import mutate_file
from fuzz.in_process import reading_in_process
from fuzz.scratch import scratch_folder
from fuzz.seeds import instances
from fuzz.target import Target
from inference.decoding import FrameRequest, decode
from inference.dicom_files import read_header, source_headers
from inference.errors import Refusal
from inference.header_json import header_from_json, header_to_json
from inference.pixels import DecodedFrame
from inference.series import choose_series
from inference.volume import read_volume

_FRAMES = (0, 1, 2)


def read_instance(content: bytes) -> str:
    """Header, elements for a report, three frames, the volume that it may make: what becomes of each."""
    with scratch_folder() as folder:
        path = folder / "instance"
        path.write_bytes(content)
        pixels = [_checked(frame) for frame in next(decode([FrameRequest(path, _FRAMES)]))]
        header = read_header(path)
        if header is None:
            return "no header"
        if header_from_json(header_to_json(header)) != header:
            raise AssertionError("a header is another one after its way through JSON")
        kind = _source(path)
        try:
            choose_series([header])
            read_volume([path])
        except Refusal as refusal:
            kind = f"{kind}, {refusal.code}"
        return f"{kind}, {sum(pixels)} of {len(pixels)} frames"


def _checked(frame: DecodedFrame) -> bool:
    if (frame.hu is None) != bool(frame.problem):
        raise AssertionError("a frame is neither decoded nor refused")
    if frame.hu is not None and (frame.hu.ndim != 2 or not frame.hu.size):
        raise AssertionError("a decoded frame is no image")
    return frame.hu is not None


def _source(path: Path) -> str:
    try:
        (source,) = source_headers([path])
    except Refusal as refusal:
        return str(refusal.code)
    if not isinstance(source, Dataset):
        raise AssertionError("a header for a report is no dataset")
    return "header"


def _in_process(content: bytes) -> str:
    with reading_in_process():
        return read_instance(content)


TARGET = Target(
    name="instance",
    run=_in_process,
    whole=read_instance,
    seeds=instances,
    mutate=mutate_file,
    allowance_bytes=1 << 30,
)
