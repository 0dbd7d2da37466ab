"""From files on disk to the headers of one study; what is no DICOM is counted, not feared.

Strangers' files are parsed in processes of their own (`inference.reading_process`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset

from inference.errors import RefusalCode, UploadRefusal, VolumeRefusal
from inference.header_json import header_from_json
from inference.header_parsing import UNREADABLE_FILE, SourceHeader
from inference.instance_header import InstanceHeader
from inference.reading_pool import READERS, WORKERS
from inference.reading_process import (
    MOST_STARTS,
    OutOfTime,
    ReadingAnswer,
    ReadingError,
    ReadingInterruptedError,
    ReadingProcess,
    What,
)
from inference.series import SeriesChoice

_FILES_A_JOB = 32
MOST_ENDED = 20
"""Files that may end the process which reads them; then the files are taken for an attack and are let be."""


@dataclass(frozen=True)
class DicomFiles:
    """The DICOM instances among files: headers, the file of each SOP Instance UID, and what was left aside.

    `ignored` counts files by reason: `not_dicom`, `dicomdir`, `duplicate`. `unreadable` are those of the
    first kind: no DICOM, or broken before their pixels.
    """

    headers: tuple[InstanceHeader, ...]
    paths: dict[str, Path]
    ignored: dict[str, int]
    unreadable: tuple[Path, ...] = ()

    def series(self, choice: SeriesChoice) -> list[Path]:
        """The files of the chosen images, in slice order."""
        return [self.paths[uid] for uid in choice.sop_instance_uids]


def files_below(path: Path) -> list[Path]:
    """A file itself, or every file below a folder, in a fixed order; links are not followed."""
    if path.is_file():
        return [path]
    return sorted(entry for entry in path.rglob("*") if entry.is_file() and not entry.is_symlink())


def read_headers(paths: Iterable[Path], deadline: float = math.inf) -> DicomFiles:
    """The headers of all DICOM instances among `paths`; a file without preamble is accepted.

    Of several files of one instance the largest is taken, the first of equal ones: a smaller one may have
    been cut off on its way.

    Raises
    ------
    UploadRefusal
        `not_dicom` if none of the files is a DICOM instance.
    VolumeRefusal
        `reading_too_slow` beyond `deadline` (of `time.monotonic`).
    """
    headers: dict[str, InstanceHeader] = {}
    files: dict[str, Path] = {}
    ignored: Counter[str] = Counter()
    unreadable: list[Path] = []
    for path, header in each_header(paths, deadline):
        if header is None:
            ignored["not_dicom"] += 1
            unreadable.append(path)
        elif header.is_directory:
            ignored["dicomdir"] += 1
        else:
            known = files.get(header.sop_instance_uid)
            ignored["duplicate"] += known is not None
            if known is None or path.stat().st_size > known.stat().st_size:
                headers[header.sop_instance_uid] = header
                files[header.sop_instance_uid] = path
    if not headers:
        raise UploadRefusal(
            RefusalCode.NOT_DICOM, f"None of the {ignored.total()} file(s) is a DICOM image that can be read."
        )
    return DicomFiles(tuple(headers.values()), files, dict(+ignored), tuple(unreadable))


def each_header(
    paths: Iterable[Path], deadline: float = math.inf
) -> Iterator[tuple[Path, InstanceHeader | None]]:
    """The header of every file, in order; None if it is no DICOM instance or is broken before its pixels.

    Raises
    ------
    VolumeRefusal
        `reading_too_slow` beyond `deadline` (of `time.monotonic`).
    """
    for path, answer in _answers("header", list(paths), deadline):
        yield path, None if answer is None else _header(answer)


def read_header(path: Path) -> InstanceHeader | None:
    """The header of one file, None if it is no DICOM instance or is broken before its pixels."""
    ((_, header),) = each_header([path])
    return header


def source_headers(paths: Sequence[Path]) -> list[Dataset]:
    """The standard elements of every file before its pixels, for a report about them.

    Raises
    ------
    VolumeRefusal
        `unreadable_pixels` if one of them cannot be read.
    """
    headers = []
    for _, answer in _answers("source", list(paths)):
        try:
            if answer is None:
                raise ValueError("no header")
            about = answer.about
            source = SourceHeader(answer.content.tobytes(), about["implicit_vr"], about["little_endian"])
            headers.append(source.dataset())
        except UNREADABLE_FILE as error:
            raise VolumeRefusal(
                RefusalCode.UNREADABLE_PIXELS, "The header of an analysed image cannot be read again."
            ) from error
    return headers


def too_slow() -> VolumeRefusal:
    """The refusal of a study whose files take more time than there is for all of them."""
    return VolumeRefusal(
        RefusalCode.READING_TOO_SLOW, "The images could not be read within the time that one study has."
    )


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


def _answers(
    what: What, paths: list[Path], deadline: float = math.inf
) -> Iterator[tuple[Path, ReadingAnswer | None]]:
    """What a reading process found in every file; None where it found nothing or was ended by it."""
    ended: list[Path] = []

    def read(process: ReadingProcess, job: list[Path]) -> list[ReadingAnswer | None]:
        answers: list[ReadingAnswer | None] = []
        for path in job:
            answer = None
            if len(ended) < MOST_ENDED:
                try:
                    answer = _ask(process, what, path)
                except ReadingError:
                    ended.append(path)
            answers.append(answer)
        return answers

    jobs = [paths[start : start + _FILES_A_JOB] for start in range(0, len(paths), _FILES_A_JOB)]
    try:
        for job, answers in zip(jobs, READERS.each(read, jobs, WORKERS, deadline), strict=True):
            yield from zip(job, answers, strict=True)
    except OutOfTime as error:
        raise too_slow() from error


def _ask(process: ReadingProcess, what: What, path: Path) -> ReadingAnswer | None:
    try:
        size = path.stat().st_size
    except OSError:
        return None
    answer = _answer(process, what, path, size)
    return answer if answer.found else None


def _answer(process: ReadingProcess, what: What, path: Path, size: int) -> ReadingAnswer:
    for _ in range(MOST_STARTS - 1):
        with suppress(ReadingInterruptedError):
            process.ask(what, path)
            return process.answer(size)
    process.ask(what, path)
    return process.answer(size)


def _header(answer: ReadingAnswer) -> InstanceHeader | None:
    try:
        return header_from_json(answer.about["header"])
    except (KeyError, TypeError, ValueError, IndexError, AttributeError):
        return None
