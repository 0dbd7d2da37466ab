"""From files on disk to the headers of one study; what is no DICOM is counted, not feared."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from inference.errors import RefusalCode, UploadRefusal
from inference.instance_header import HEADER_TAGS, UNREADABLE_VALUE, InstanceHeader
from inference.series import SeriesChoice

UNREADABLE_FILE = (
    *UNREADABLE_VALUE,
    InvalidDicomError,
    EOFError,
    OSError,
    struct.error,
    zlib.error,
    MemoryError,
)
"""What reading a stranger's file raises."""


@dataclass(frozen=True)
class DicomFiles:
    """The DICOM instances among files: headers, the file of each SOP Instance UID, and what was left aside.

    `ignored` counts files by reason: `not_dicom`, `dicomdir`, `duplicate`.
    """

    headers: tuple[InstanceHeader, ...]
    paths: dict[str, Path]
    ignored: dict[str, int]

    def series(self, choice: SeriesChoice) -> list[Path]:
        """The files of the chosen images, in slice order."""
        return [self.paths[uid] for uid in choice.sop_instance_uids]


def files_below(path: Path) -> list[Path]:
    """A file itself, or every file below a folder, in a fixed order; links are not followed."""
    if path.is_file():
        return [path]
    return sorted(entry for entry in path.rglob("*") if entry.is_file() and not entry.is_symlink())


def read_headers(paths: Iterable[Path]) -> DicomFiles:
    """The headers of all DICOM instances among `paths`; a file without preamble is accepted.

    Raises
    ------
    UploadRefusal
        `not_dicom` if none of the files is a DICOM instance.
    """
    headers: list[InstanceHeader] = []
    files: dict[str, Path] = {}
    ignored: Counter[str] = Counter()
    for path in paths:
        header = read_header(path)
        if header is None:
            ignored["not_dicom"] += 1
        elif header.is_directory:
            ignored["dicomdir"] += 1
        elif header.sop_instance_uid in files:
            ignored["duplicate"] += 1
        else:
            headers.append(header)
            files[header.sop_instance_uid] = path
    if not headers:
        raise UploadRefusal(
            RefusalCode.NOT_DICOM, f"None of the {ignored.total()} file(s) is a DICOM image that can be read."
        )
    return DicomFiles(tuple(headers), files, dict(ignored))


def read_header(path: Path) -> InstanceHeader | None:
    """The header of one file, None if it is no DICOM instance or is broken before its pixels."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a stranger's odd values are judged by `InstanceHeader`
            dataset = dcmread(path, stop_before_pixels=True, force=True, specific_tags=list(HEADER_TAGS))
            return InstanceHeader.from_dataset(dataset)
    except UNREADABLE_FILE:
        return None


def one_study(headers: Sequence[InstanceHeader], study_uid: str | None = None) -> tuple[InstanceHeader, ...]:
    """The headers of the one study that there is, or of the one asked for.

    Raises
    ------
    UploadRefusal
        `mixed_patients` or `mixed_studies` if there are several and none is asked for, `study_not_found` if
        the one asked for is not among them.
    """
    wanted = tuple(header for header in headers if study_uid in {None, header.study_uid})
    patients = {header.patient for header in wanted if header.patient}
    studies = {header.study_uid for header in wanted}
    if len(patients) > 1:
        raise UploadRefusal(RefusalCode.MIXED_PATIENTS, f"The files belong to {len(patients)} patients.")
    if len(studies) > 1:
        raise UploadRefusal(RefusalCode.MIXED_STUDIES, f"The files belong to {len(studies)} studies.")
    if not wanted:
        raise UploadRefusal(RefusalCode.STUDY_NOT_FOUND, "The study asked for is not among the files.")
    return wanted
