"""Parsing of a stranger's file, without fear of what it holds but in the process that calls.

The node calls `inference.dicom_files` instead, which lets a process of its own do this.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset

from inference.dataset_values import UNREADABLE_VALUE
from inference.instance_header import HEADER_TAGS, InstanceHeader
from inference.preamble import PREAMBLE_BYTES, PREFIX

UNREADABLE_FILE = (
    *UNREADABLE_VALUE,
    AssertionError,
    BytesLengthException,
    InvalidDicomError,
    EOFError,
    OSError,
    RuntimeError,
    struct.error,
    zlib.error,
    MemoryError,
)
"""What reading a stranger's file raises."""

_FIRST_GROUPS = frozenset({b"\x02\0", b"\0\x02", b"\x08\0", b"\0\x08"})
"""Groups 0002 and 0008, in either byte order: no data set of an image begins with another."""

LARGEST_VALUE = 1 << 16
"""Bytes of an element that a report has no use for: overlays, thumbnails, lookup tables."""


def parse_header(path: Path) -> InstanceHeader | None:
    """The header of one file, None if it is no DICOM instance or is broken before its pixels."""
    try:
        if not _may_be_dicom(path):
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a stranger's odd values are judged by `InstanceHeader`
            dataset = dcmread(path, stop_before_pixels=True, force=True, specific_tags=list(HEADER_TAGS))
            return InstanceHeader.from_dataset(dataset)
    except UNREADABLE_FILE:
        return None


def _may_be_dicom(path: Path) -> bool:
    """Whether a file has the prefix of PS3.10, or begins as a data set or file meta information without one.

    Else a gigabyte of zeros would be read as elements of no length, one after the other, for a minute.
    """
    with path.open("rb") as stream:
        head = stream.read(PREAMBLE_BYTES + len(PREFIX))
    return head.endswith(PREFIX) or head[:2] in _FIRST_GROUPS


@dataclass(frozen=True)
class SourceHeader:
    """The standard elements of a file before its pixels, encoded as they were there (PS3.5 section 7.1).

    Without private elements and large values, which may be of any size and which no report takes over.
    """

    content: bytes
    implicit_vr: bool
    little_endian: bool

    def dataset(self) -> Dataset:
        """The elements; their values are decoded when they are asked for."""
        return read_dataset(BytesIO(self.content), self.implicit_vr, self.little_endian)


def source_header(path: Path) -> SourceHeader | None:
    """What a report about the images needs of one file, None if it cannot be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = dcmread(path, stop_before_pixels=True, force=True)
            for tag in [tag for tag in dataset.keys() if _needless(dataset, tag)]:  # noqa: SIM118
                del dataset[tag]
            implicit, little = (bool(answer) for answer in dataset.original_encoding)
            buffer = DicomBytesIO()
            buffer.is_implicit_VR, buffer.is_little_endian = implicit, little
            write_dataset(buffer, dataset)
            return SourceHeader(buffer.getvalue(), implicit, little)
    except UNREADABLE_FILE:
        return None


def _needless(dataset: Dataset, tag: int) -> bool:
    element = dataset.get_item(tag)
    length = getattr(element, "length", 0)  # of a raw element alone; a sequence is parsed
    return element is None or element.tag.is_private or length > LARGEST_VALUE
