"""The studies that the scanner sends: synthetic ones of known truth, or one that lies on disk."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dicom_node.settings import HttpSettings
from dicom_node.uploads import receive_paths
from inference.dicom_files import read_headers
from phantom.studies import demo_studies

_NICE = 10


@dataclass(frozen=True)
class Scan:
    """One study as a scanner has it: `files` in the order of sending.

    `kind` ("chest", "head", "quality_phantom") and `truth` (names of findings) are None for a study of which
    nobody knows.
    """

    study_uid: str
    kind: str | None
    truth: tuple[str, ...] | None
    files: tuple[Path, ...]


@contextmanager
def synthetic_scans(folder: Path) -> Iterator[tuple[int, Iterator[Scan]]]:
    """How many synthetic studies there are, and each in turn; the next is made while one is looked at.

    A study's files are there until the next one is asked for. They are made in a process of their own, at a
    lower priority: what is measured is the node.
    """
    count = len(demo_studies())
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(1, mp_context=context, initializer=_become_background)
    try:
        first = executor.submit(write_scan, 0, folder)

        def scans() -> Iterator[Scan]:
            pending = first
            for number in range(count):
                scan = pending.result()
                if number + 1 < count:
                    pending = executor.submit(write_scan, number + 1, folder)
                yield scan
                shutil.rmtree(scan.files[0].parent)

        yield count, scans()
    finally:
        _end(executor)


def write_scan(number: int, folder: Path) -> Scan:
    """Make one of the demonstration's studies as files below `folder`."""
    study = demo_studies()[number]
    target = folder / f"{number:02}"
    target.mkdir(parents=True)
    files = []
    for index, image in enumerate(study.datasets()):
        path = target / f"{index:05}.dcm"
        image.save_as(path, enforce_file_format=True)
        files.append(path)
    return Scan(str(study.study.uid), study.kind, study.truth, tuple(files))


def scans_on_disk(path: Path, http: HttpSettings, folder: Path) -> list[Scan]:
    """The studies in a folder, ZIP or file; an archive is unpacked into `folder`.

    Raises
    ------
    FileNotFoundError
        If there is no such path.
    inference.errors.UploadRefusal
        If it holds no DICOM.
    """
    found = read_headers(receive_paths([path], http, folder).files)
    files: dict[str, list[Path]] = {}
    for header in found.headers:
        files.setdefault(header.study_uid, []).append(found.paths[header.sop_instance_uid])
    return [Scan(study_uid, None, None, tuple(paths)) for study_uid, paths in files.items()]


def _become_background() -> None:
    os.nice(_NICE)
    # Ctrl-C at the terminal reaches this process too; the demonstration ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _end(executor: ProcessPoolExecutor) -> None:
    """End the process at once, in the middle of a study if need be."""
    processes = list((executor._processes or {}).values())
    executor.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.terminate()
        process.join()
