"""From files on disk to the headers of one study; what is no DICOM is counted, not feared.

Strangers' files are parsed in processes of their own (`inference.reading_process`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset

from inference.errors import RefusalCode, UploadRefusal, VolumeRefusal
from inference.header_json import header_from_json
from inference.header_parsing import UNREADABLE_FILE, SourceHeader
from inference.instance_header import InstanceHeader
from inference.reading_pool import READERS, WORKERS
from inference.reading_process import ReadingAnswer, ReadingError, ReadingProcess, What
from inference.series import SeriesChoice

_FILES_A_JOB = 32
MOST_ENDED = 20
"""Files that may end the process which reads them; then the files are taken for an attack and are let be."""


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
    for path, header in each_header(paths):
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


def each_header(paths: Iterable[Path]) -> Iterator[tuple[Path, InstanceHeader | None]]:
    """The header of every file, in order; None if it is no DICOM instance or is broken before its pixels."""
    for path, answer in _answers("header", list(paths)):
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


def _answers(what: What, paths: list[Path]) -> Iterator[tuple[Path, ReadingAnswer | None]]:
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
    for job, answers in zip(jobs, READERS.each(read, jobs, WORKERS), strict=True):
        yield from zip(job, answers, strict=True)


def _ask(process: ReadingProcess, what: What, path: Path) -> ReadingAnswer | None:
    try:
        size = path.stat().st_size
    except OSError:
        return None
    process.ask(what, path)
    answer = process.answer(size)
    return answer if answer.found else None


def _header(answer: ReadingAnswer) -> InstanceHeader | None:
    try:
        return header_from_json(answer.about["header"])
    except (KeyError, TypeError, ValueError, IndexError, AttributeError):
        return None
