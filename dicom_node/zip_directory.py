"""The directory of a ZIP, read without trust: where every member lies, and that no two share bytes.

`zipfile` of the standard library reads a directory of any size that an archive claims, takes one part of a
split archive or data before an archive as they come, lets members overlap, and gives up on a name in a wrong
encoding; so the directory is read here. Sections are those of PKWARE's APPNOTE 6.3.
"""

from __future__ import annotations

import io
import itertools
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from io import FileIO

from dicom_node.file_kinds import SPLIT_ZIP_MAGIC, ZIP_MAGIC
from dicom_node.zip_member import ZipMember
from inference.errors import RefusalCode, UploadRefusal

_END = struct.Struct("<4s4H2LH")  # 4.3.16
_END64_LOCATOR = struct.Struct("<4sLQL")  # 4.3.15
_END64 = struct.Struct("<4sQ2H2L4Q")  # 4.3.14
_ENTRY = struct.Struct("<4s6H3L5H2L")  # 4.3.12
_LOCAL = struct.Struct("<4s5H3L2H")  # 4.3.7
_LONGEST_COMMENT = 0xFFFF
_UTF8 = 0x800
_IN_EXTRA_32, _IN_EXTRA_16 = 0xFFFFFFFF, 0xFFFF
_ZIP64_EXTRA = 0x0001


@dataclass(frozen=True)
class _Directory:
    """What an archive's end says of its directory: `size` bytes from `start`. The end itself is at `stop`."""

    entries: int
    size: int
    start: int
    stop: int


def read_directory(archive: FileIO, max_bytes: int) -> list[ZipMember]:
    """All members of an archive, folders too, in the directory's order; not one byte of them is unpacked.

    Raises
    ------
    UploadRefusal
        `not_a_zip` for a truncated, damaged or split archive and for data before one, `too_large` for a
        directory of more than `max_bytes`, `unsafe_archive` for members that overlap.
    """
    try:
        directory = _find(archive)
        if directory.size > max_bytes:
            raise UploadRefusal(RefusalCode.TOO_LARGE, "The archive lists too many files.")
        entries = _at(archive, directory.start, directory.size)
        _refuse_displaced(archive, directory, entries)
        members = list(_members(archive, entries))
    except struct.error as error:
        raise _damaged() from error
    if len(members) != directory.entries:
        raise _damaged()
    _refuse_misplaced(members, directory)
    return members


def _find(archive: FileIO) -> _Directory:
    size = archive.seek(0, io.SEEK_END)
    tail_start = max(0, size - _END.size - _LONGEST_COMMENT)
    tail = _at(archive, tail_start, size - tail_start)
    place = tail.rfind(b"PK\x05\x06", 0, max(0, len(tail) - _END.size + 4))
    while place >= 0:
        _, disk, first_disk, here, entries, length, start, comment = _END.unpack_from(tail, place)
        if place + _END.size + comment <= len(tail):
            break
        place = tail.rfind(b"PK\x05\x06", 0, place)  # that one was a part of a comment
    else:
        head = _at(archive, 0, len(ZIP_MAGIC))
        if head == SPLIT_ZIP_MAGIC:
            raise _split()
        if head == ZIP_MAGIC:
            raise _not_a_zip("The ZIP archive is incomplete (its end is missing): send it again.")
        raise _not_a_zip("The file is not a ZIP archive.")
    stop = tail_start + place
    locator = _at(archive, max(0, stop - _END64_LOCATOR.size), _END64_LOCATOR.size)
    if locator.startswith(b"PK\x06\x07"):
        _, end_disk, stop, disks = _END64_LOCATOR.unpack(locator)
        if end_disk or disks > 1:
            raise _split()
        magic, _, _, _, disk, first_disk, here, entries, length, start = _END64.unpack(
            _at(archive, stop, _END64.size)
        )
        if magic != b"PK\x06\x06":
            raise _damaged()
    if disk or first_disk or here != entries:
        raise _split()
    return _Directory(entries, length, start, stop)


def _refuse_displaced(archive: FileIO, directory: _Directory, entries: bytes) -> None:
    """Offsets count from the archive's first byte, so that data before it displace the directory."""
    if entries.startswith(b"PK\x01\x02") or directory.entries == directory.size == 0:
        return
    if _at(archive, directory.stop - directory.size, 4) == b"PK\x01\x02":
        raise _data_before()
    raise _damaged()


def _members(archive: FileIO, entries: bytes) -> Iterator[ZipMember]:
    place = 0
    while place < len(entries):
        entry = _ENTRY.unpack_from(entries, place)
        magic, _, _, flags, method, _, _, crc, packed, unpacked = entry[:10]
        name_bytes, extra_bytes, comment_bytes, disk, _, attributes, header = entry[10:]
        if magic != b"PK\x01\x02":
            raise _damaged()
        place += _ENTRY.size
        name, place = entries[place : place + name_bytes], place + name_bytes
        extra, place = entries[place : place + extra_bytes], place + extra_bytes + comment_bytes
        unpacked, packed, header, disk = _in_full(extra, unpacked, packed, header, disk)
        if disk:
            raise _split()
        local = _LOCAL.unpack(_at(archive, header, _LOCAL.size))
        if local[0] != b"PK\x03\x04":
            raise _damaged()
        data = header + _LOCAL.size + local[9] + local[10]
        yield ZipMember(
            name=name.decode("utf-8" if flags & _UTF8 else "cp437", "replace"),
            flags=flags | local[2],
            method=method,
            crc=crc,
            unpacked_bytes=unpacked,
            unix_mode=attributes >> 16,
            header_start=header,
            data_start=data,
            data_stop=data + packed,
        )


def _in_full(extra: bytes, unpacked: int, packed: int, header: int, disk: int) -> tuple[int, int, int, int]:
    """Numbers of a directory entry; the large ones stand, in this order, in its ZIP64 extra field (4.5.3)."""
    values = [unpacked, packed, header, disk]
    absent = [_IN_EXTRA_32, _IN_EXTRA_32, _IN_EXTRA_32, _IN_EXTRA_16]
    wanted = [number for number in range(4) if values[number] == absent[number]]
    if not wanted:
        return unpacked, packed, header, disk
    place = 0
    while place + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, place)
        place += 4
        if kind == _ZIP64_EXTRA:
            field = io.BytesIO(extra[place : place + length])
            for number in wanted:
                form = "<L" if number == 3 else "<Q"
                (values[number],) = struct.unpack(form, field.read(struct.calcsize(form)))
            return values[0], values[1], values[2], values[3]
        place += length
    raise _damaged()


def _refuse_misplaced(members: list[ZipMember], directory: _Directory) -> None:
    """Members that share bytes make a small archive large; bytes before all members may be a program."""
    ordered = sorted(members, key=lambda member: member.header_start)
    for member, following in itertools.pairwise(ordered):
        if member.data_stop > following.header_start:
            raise UploadRefusal(RefusalCode.UNSAFE_ARCHIVE, "Files in the archive overlap each other.")
    if ordered and ordered[-1].data_stop > directory.start:
        raise _damaged()
    if ordered and ordered[0].header_start > len(SPLIT_ZIP_MAGIC):  # which may stand first (8.5.4)
        raise _data_before()


def _at(archive: FileIO, place: int, size: int) -> bytes:
    if not 0 <= place <= archive.seek(0, io.SEEK_END):  # a claim that this file does not hold
        raise _damaged()
    archive.seek(place)
    return archive.read(size)


def _not_a_zip(sentence: str) -> UploadRefusal:
    return UploadRefusal(RefusalCode.NOT_A_ZIP, sentence)


def _split() -> UploadRefusal:
    return _not_a_zip("The file is one part of a ZIP that was split into several: send it as a single ZIP.")


def _data_before() -> UploadRefusal:
    return _not_a_zip("There are other data before the ZIP archive: pack the files anew, as a plain ZIP.")


def _damaged() -> UploadRefusal:
    return _not_a_zip("The ZIP archive is damaged: send it again.")
