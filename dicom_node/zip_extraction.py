"""A ZIP from a stranger onto disk: numbered files, counted bytes, nothing of the archive's own paths.

What an archive says of itself (sizes, counts, names) is never trusted. Names are read only to refuse what no
honest tool packs; sizes are those that really came out. A ZIP inside the ZIP is opened, deeper ones are not.
"""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from inference.errors import RefusalCode, UploadRefusal

ZIP_MAGIC = b"PK\x03\x04"
_CHUNK = 1 << 20
_DIRECTORY_BYTES_PER_MEMBER = 1024
_RATIO_FREE_BYTES = 64 << 20
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_ENCRYPTED = 0x1
_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    UnicodeDecodeError,
)


@dataclass(frozen=True)
class ZipLimits:
    """Caps on one archive, nested archives included.

    `max_members` files; `max_member_bytes` for one file and `max_inflated_bytes` for all, as they come out;
    `max_ratio` is inflated bytes over the archive's own bytes, looked at beyond the first 64 MiB (an empty
    slice deflates a thousandfold, a study does not).
    """

    max_members: int
    max_member_bytes: int
    max_inflated_bytes: int
    max_ratio: float


def extract_zip(archive: Path, folder: Path, limits: ZipLimits) -> tuple[Path, ...]:
    """Write the members of `archive` to `folder` as `000001`, `000002`, ... and return them in that order.

    Raises
    ------
    UploadRefusal
        `not_a_zip` for what cannot be read as one, `unsafe_archive` for links, devices, escaping paths,
        encryption, bombs and deeper nesting, `too_large` for more members or bytes than allowed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    extraction = _Extraction(folder, limits, archive.stat().st_size)
    extraction.read(archive, nested=False)
    return tuple(extraction.files)


class _Extraction:
    """One run: what came out so far, against the limits."""

    def __init__(self, folder: Path, limits: ZipLimits, archive_bytes: int) -> None:
        self.files: list[Path] = []
        self._folder = folder
        self._limits = limits
        self._archive_bytes = archive_bytes
        self._members = 0
        self._inflated_bytes = 0

    def read(self, archive: Path, *, nested: bool) -> None:
        directory_bytes = max(1 << 20, self._limits.max_members * _DIRECTORY_BYTES_PER_MEMBER)
        try:
            with archive.open("rb") as raw, zipfile.ZipFile(_BoundedReader(raw, directory_bytes)) as opened:
                members = [member for member in opened.infolist() if not member.filename.endswith("/")]
                for member in members:
                    _refuse_unsafe(member)
                for member in members:
                    self._extract(opened, member, nested=nested)
        except _UNREADABLE as error:
            raise UploadRefusal(RefusalCode.NOT_A_ZIP, "The file is not a complete ZIP archive.") from error

    def _extract(self, opened: zipfile.ZipFile, member: zipfile.ZipInfo, *, nested: bool) -> None:
        self._members += 1
        if self._members > self._limits.max_members:
            raise UploadRefusal(
                RefusalCode.TOO_LARGE, f"The archive holds more than {self._limits.max_members} files."
            )
        target = self._folder / f"{self._members:06d}"
        with opened.open(member) as source, target.open("xb") as sink:
            size = 0
            while chunk := source.read(_CHUNK):
                size += len(chunk)
                self._count(len(chunk), size)
                sink.write(chunk)
        if _is_directory_file(member.filename):
            target.unlink()
        elif _starts_with(target, ZIP_MAGIC):
            if nested:
                raise UploadRefusal(
                    RefusalCode.UNSAFE_ARCHIVE, "The archive is nested more than one level deep."
                )
            self.read(target, nested=True)
            target.unlink()
        else:
            self.files.append(target)

    def _count(self, chunk_bytes: int, member_bytes: int) -> None:
        self._inflated_bytes += chunk_bytes
        if member_bytes > self._limits.max_member_bytes:
            raise UploadRefusal(
                RefusalCode.TOO_LARGE, f"A file of the archive is over {self._limits.max_member_bytes} bytes."
            )
        if self._inflated_bytes > self._limits.max_inflated_bytes:
            raise UploadRefusal(
                RefusalCode.TOO_LARGE,
                f"The archive unpacks to more than {self._limits.max_inflated_bytes} bytes.",
            )
        if self._inflated_bytes > max(_RATIO_FREE_BYTES, self._limits.max_ratio * self._archive_bytes):
            raise UploadRefusal(
                RefusalCode.UNSAFE_ARCHIVE,
                f"The archive unpacks to more than {self._limits.max_ratio:g} times its own size.",
            )


class _BoundedReader(io.BufferedIOBase):
    """A file whose single reads are bounded.

    `zipfile` reads the whole central directory at once, and its size is the archive's own claim.
    """

    def __init__(self, raw: io.BufferedReader, max_read_bytes: int) -> None:
        self._raw = raw
        self._max_read_bytes = max_read_bytes

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            size = self._max_read_bytes + 1
        data = self._raw.read(min(size, self._max_read_bytes + 1))
        if len(data) > self._max_read_bytes:
            raise UploadRefusal(RefusalCode.TOO_LARGE, "The archive lists too many files.")
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        if whence == io.SEEK_SET and offset < 0:
            raise zipfile.BadZipFile("an offset before the start")
        return self._raw.seek(offset, whence)

    def tell(self) -> int:
        return self._raw.tell()

    def seekable(self) -> bool:
        return True


def _refuse_unsafe(member: zipfile.ZipInfo) -> None:
    name = member.orig_filename
    windows = PureWindowsPath(name)
    parts = {*PurePosixPath(name).parts, *windows.parts}
    if "\0" in name or name.startswith(("/", "\\")) or windows.drive or ".." in parts:
        raise UploadRefusal(RefusalCode.UNSAFE_ARCHIVE, "A path in the archive leads out of it.")
    mode = member.external_attr >> 16
    if stat.S_IFMT(mode) not in {0, stat.S_IFREG, stat.S_IFDIR}:
        raise UploadRefusal(RefusalCode.UNSAFE_ARCHIVE, "The archive holds a link or a device.")
    if member.flag_bits & _ENCRYPTED:
        raise UploadRefusal(RefusalCode.UNSAFE_ARCHIVE, "The archive is encrypted.")
    if member.compress_type not in _METHODS:
        raise UploadRefusal(
            RefusalCode.UNSAFE_ARCHIVE, "The archive is compressed by another method than deflate."
        )


def _is_directory_file(name: str) -> bool:
    """PS3.10 section 8.6: a File-set's directory is named DICOMDIR; it lists images without being one."""
    return PureWindowsPath(name).name.upper() == "DICOMDIR"


def _starts_with(file: Path, magic: bytes) -> bool:
    with file.open("rb") as stream:
        return stream.read(len(magic)) == magic
