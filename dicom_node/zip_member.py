"""One member of a ZIP: whether it may be unpacked, and its bytes.

Sections are those of PKWARE's APPNOTE 6.3. What the archive says of a member's size and checksum is compared
with what comes out; it decides nothing before.
"""

from __future__ import annotations

import stat
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import PurePosixPath, PureWindowsPath

from inference.errors import RefusalCode, UploadRefusal

_STORED, _DEFLATED = 0, 8
_METHODS = {
    1: "Shrink", 6: "Implode", 9: "Deflate64", 12: "bzip2", 14: "LZMA", 93: "Zstandard", 95: "XZ",
    97: "WavPack", 98: "PPMd",
}  # fmt: skip
"""Section 4.4.5: methods by name, without those that are read."""
_ENCRYPTED = 0x1 | 0x40 | 0x2000
"""Section 4.4.4: encrypted, strongly encrypted, header values masked."""
_PATCH_DATA = 0x20
_CHUNK = 1 << 20
_PACKED_CHUNK = 1 << 18  # less, since what an inflater does not take is copied


@dataclass(frozen=True)
class ZipMember:
    """A member as directory and local header describe it; numbers are the archive's own claims.

    `data_start` and `data_stop` are where its packed bytes lie in the archive; `unix_mode` (type and
    permissions, as `stat` has them) is 0 where the packer wrote none.
    """

    name: str
    flags: int
    method: int
    crc: int
    unpacked_bytes: int
    unix_mode: int
    header_start: int
    data_start: int
    data_stop: int

    @property
    def is_folder(self) -> bool:
        """Whether it stands for a folder; some packers for Windows write a backslash (against 4.4.17.1)."""
        return self.name.endswith("/") or (self.name.endswith("\\") and self.unpacked_bytes == 0)

    @property
    def is_file_set_directory(self) -> bool:
        """PS3.10 section 8.6: a File-set's directory is named DICOMDIR; it lists images without being one."""
        return PureWindowsPath(self.name).name.upper() == "DICOMDIR"

    @property
    def is_part(self) -> bool:
        """Whether it is named as the first part of an archive that was cut into pieces (7-Zip, HJSplit)."""
        return self.name.endswith(".001")

    def refuse_unsafe(self) -> None:
        """Refuse what no honest packer of images makes, and what cannot be read.

        Raises
        ------
        UploadRefusal
            `unsafe_archive`.
        """
        windows = PureWindowsPath(self.name)
        parts = {*PurePosixPath(self.name).parts, *windows.parts}
        if "\0" in self.name or self.name.startswith(("/", "\\")) or windows.drive or ".." in parts:
            raise _unsafe("A path in the archive leads out of it.")
        if stat.S_IFMT(self.unix_mode) not in {0, stat.S_IFREG, stat.S_IFDIR}:
            raise _unsafe("The archive holds a link or a device.")
        if self.flags & _ENCRYPTED:
            raise _unsafe("The archive is encrypted (it has a password).")
        if self.method not in {_STORED, _DEFLATED} or self.flags & _PATCH_DATA:
            method = _METHODS.get(self.method, "an unusual method")
            raise _unsafe(f"The archive is compressed with {method}; only Deflate (the usual one) is read.")

    def chunks(self, archive: FileIO) -> Iterator[bytes]:
        """Its bytes, in chunks of at most 1 MiB.

        Raises
        ------
        UploadRefusal
            `not_a_zip`, after the last chunk, where size or checksum are not those that the archive states.
        """
        archive.seek(self.data_start)
        chunks = _copied if self.method == _STORED else _inflated
        crc = size = 0
        for chunk in chunks(archive, self.data_stop - self.data_start):
            crc = zlib.crc32(chunk, crc)
            size += len(chunk)
            yield chunk
        if (crc, size) != (self.crc, self.unpacked_bytes):
            raise _damaged()


def _copied(archive: FileIO, left: int) -> Iterator[bytes]:
    while left:
        chunk = archive.read(min(left, _CHUNK))
        if not chunk:
            raise _damaged()
        left -= len(chunk)
        yield chunk


def _inflated(archive: FileIO, left: int) -> Iterator[bytes]:
    inflater = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    packed = b""
    while not inflater.eof:
        if not packed:
            packed = archive.read(min(left, _PACKED_CHUNK))
            left -= len(packed)
        try:
            chunk = inflater.decompress(packed, _CHUNK)
        except zlib.error as error:
            raise _damaged() from error
        if not (chunk or packed):  # the bytes have ended before the stream
            raise _damaged()
        packed = inflater.unconsumed_tail
        if chunk:
            yield chunk
    if left or inflater.unused_data:
        raise _damaged()


def _unsafe(sentence: str) -> UploadRefusal:
    return UploadRefusal(RefusalCode.UNSAFE_ARCHIVE, sentence)


def _damaged() -> UploadRefusal:
    return UploadRefusal(RefusalCode.NOT_A_ZIP, "The ZIP archive is damaged: send it again.")
