"""A ZIP from a stranger onto disk: numbered files, counted bytes, nothing of the archive's own paths.

What an archive says of itself (sizes, counts, names) is never trusted. Names are read only to refuse what no
honest tool packs; sizes are those that really came out. A ZIP inside the ZIP is opened, deeper ones are not;
archives of other kinds and parts of split ones stay among the files as they are.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from dicom_node.file_kinds import ZIP_MAGIC, is_package
from dicom_node.sizes import size_in_words
from dicom_node.zip_directory import read_directory
from dicom_node.zip_member import ZipMember
from inference.errors import RefusalCode, UploadRefusal

_DIRECTORY_BYTES_PER_MEMBER = 1024
_RATIO_FREE_BYTES = 64 << 20
_THREADS = 2


@dataclass(frozen=True)
class ZipLimits:
    """Caps on one archive, nested archives included.

    `max_members` files; `max_member_bytes` for one file and `max_inflated_bytes` for all, as they come out;
    `max_ratio` is inflated bytes over the archive's own bytes, looked at beyond the first 64 MiB (an empty
    slice deflates a thousandfold, a study does not); `timeout_s` is for all of the unpacking.
    """

    max_members: int
    max_member_bytes: int
    max_inflated_bytes: int
    max_ratio: float
    timeout_s: float


def extract_zip(archive: Path, folder: Path, limits: ZipLimits) -> tuple[Path, ...]:
    """Write the members of `archive` to `folder` as `000001`, `000002`, ... and return them in its own order.

    The members of a ZIP in the ZIP stand where that one stood. After a refusal, files are left in `folder`.

    Raises
    ------
    UploadRefusal
        `not_a_zip` for what cannot be read as one, `unsafe_archive` for links, devices, escaping paths,
        encryption, bombs and deeper nesting, `too_large` for more members or bytes than allowed,
        `unpacking_too_slow` for more time.
    """
    return extract_zips([archive], folder, limits)


def extract_zips(archives: Sequence[Path], folder: Path, limits: ZipLimits) -> tuple[Path, ...]:
    """As `extract_zip`, of several archives one after the other; they share every cap.

    Raises
    ------
    UploadRefusal
    """
    folder.mkdir(parents=True, exist_ok=True)
    extraction = _Extraction(folder, limits, sum(archive.stat().st_size for archive in archives))
    for archive in archives:
        extraction.read(archive, nested=False)
    return tuple(extraction.files)


class _Extraction:
    """One run: what came out so far, against the limits."""

    def __init__(self, folder: Path, limits: ZipLimits, archive_bytes: int) -> None:
        self.files: list[Path] = []
        self._folder = folder
        self._limits = limits
        self._archive_bytes = archive_bytes
        self._deadline = time.monotonic() + limits.timeout_s
        self._members = 0
        self._inflated_bytes = 0
        self._counting = threading.Lock()

    def read(self, archive: Path, *, nested: bool) -> None:
        directory_bytes = max(1 << 20, self._limits.max_members * _DIRECTORY_BYTES_PER_MEMBER)
        with archive.open("rb", buffering=0) as opened:
            members = [item for item in read_directory(opened, directory_bytes) if not item.is_folder]
        for member in members:
            member.refuse_unsafe()
        targets = self._targets(len(members))
        with ThreadPoolExecutor(_THREADS) as threads:  # zlib and the disk let go of the interpreter
            list(threads.map(self._write, itertools.repeat(archive), members, targets))
        for member, target in zip(members, targets, strict=True):
            self._take(member, target, nested=nested)

    def _targets(self, count: int) -> list[Path]:
        first = self._members + 1
        self._members += count
        if self._members > self._limits.max_members:
            raise UploadRefusal(
                RefusalCode.TOO_LARGE, f"The archive holds more than {self._limits.max_members} files."
            )
        return [self._folder / f"{number:06d}" for number in range(first, first + count)]

    def _write(self, archive: Path, member: ZipMember, target: Path) -> None:
        with archive.open("rb", buffering=0) as opened, target.open("xb") as sink:
            self._count(0, 0)
            size = 0
            for chunk in member.chunks(opened):
                size += len(chunk)
                self._count(len(chunk), size)
                sink.write(chunk)

    def _take(self, member: ZipMember, target: Path, *, nested: bool) -> None:
        """Keep a file, open it if it is a ZIP, or drop it if it is no image."""
        if member.is_file_set_directory or is_package(target):
            target.unlink()
        elif _begins_as_zip(target) and not member.is_part:
            if nested:
                raise UploadRefusal(
                    RefusalCode.UNSAFE_ARCHIVE, "The archive is nested more than one level deep."
                )
            self.read(target, nested=True)
            target.unlink()
        else:
            self.files.append(target)

    def _count(self, chunk_bytes: int, member_bytes: int) -> None:
        with self._counting:
            self._inflated_bytes += chunk_bytes
        limits = self._limits
        if member_bytes > limits.max_member_bytes:
            raise UploadRefusal(
                RefusalCode.TOO_LARGE,
                f"A file of the archive is larger than {size_in_words(limits.max_member_bytes)}.",
            )
        if self._inflated_bytes > limits.max_inflated_bytes:
            raise UploadRefusal(
                RefusalCode.TOO_LARGE,
                f"The archive unpacks to more than {size_in_words(limits.max_inflated_bytes)}.",
            )
        if self._inflated_bytes > max(_RATIO_FREE_BYTES, limits.max_ratio * self._archive_bytes):
            raise UploadRefusal(
                RefusalCode.UNSAFE_ARCHIVE,
                f"The archive unpacks to more than {limits.max_ratio:g} times its own size.",
            )
        if time.monotonic() > self._deadline:
            raise UploadRefusal(
                RefusalCode.UNPACKING_TOO_SLOW,
                f"The archive could not be unpacked within {limits.timeout_s:g} s.",
            )


def _begins_as_zip(file: Path) -> bool:
    with file.open("rb") as stream:
        return stream.read(len(ZIP_MAGIC)) == ZIP_MAGIC
