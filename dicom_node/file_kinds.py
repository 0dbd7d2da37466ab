"""What a file that is no ZIP is instead, told by its first bytes, and what its sender can do about it.

File names are not looked at: they are a stranger's, and often hold a patient's name.
"""

from __future__ import annotations

import os
from pathlib import Path

from inference.instance_header import CT_STORAGE

ZIP_MAGIC = b"PK\x03\x04"
EMPTY_ZIP_MAGIC = b"PK\x05\x06"
SPLIT_ZIP_MAGIC = b"PK\x07\x08"
GZIP_MAGIC = b"\x1f\x8b"

_HEAD_BYTES = 0x8001 + 5  # as far as an ISO image's own magic
_ARCHIVES = (
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (0, b"Rar!\x1a\x07", "a RAR archive"),
    (257, b"ustar", "a tar archive"),
    (0, GZIP_MAGIC, "a gzip archive (.gz, .tgz)"),
    (0, b"BZh", "a bzip2 archive"),
    (0, b"\xfd7zXZ\x00", "an xz archive"),
    (0, b"\x28\xb5\x2f\xfd", "a Zstandard archive"),
    (0, b"MSCF", "a cabinet archive"),
    (0x8001, b"CD001", "an image of a CD (ISO)"),
)
"""Where the magic is, the magic, the name."""
_PACKAGES = ("META-INF/", "mimetype", "[Content_Types].xml", "_rels/", "docProps/", "AndroidManifest.xml")
"""First members of ZIPs that are programs or documents (JAR, APK, Office), as they lie on a patient's CD."""
_ZIP_END = b"PK\x05\x06"
_ZIP_TAIL_BYTES = 22 + 0xFFFF  # the end of a ZIP and its longest comment (APPNOTE 4.3.16)
_ENDS = (b"\0", b"\x02\0")
"""What follows a UID in the meta information: its padding, or group 0002 of the next element."""
_UNPACK = "which is not supported: unpack it, and pack the DICOM files as a ZIP."


def archive_kind(file: Path) -> str | None:
    """Name of the kind of archive that a file is, "a RAR archive"; None for a ZIP or no archive at all."""
    return _archive_kind(_head(file))


def unopened_archive(file: Path) -> str | None:
    """Name of the kind of archive that a file among images is, "a part of a split ZIP"; None for no archive.

    Programs and documents that are ZIPs by form hold no images and are none.
    """
    head = _head(file)
    if head[128:132] == b"DICM":
        return None
    if not head.startswith((ZIP_MAGIC, EMPTY_ZIP_MAGIC)):
        parted = head.startswith(SPLIT_ZIP_MAGIC) or _ends_on_another_disk(file)
        return "a part of a split ZIP" if parted else _archive_kind(head)
    if head[30:].startswith(tuple(map(str.encode, _PACKAGES))):
        return None
    return "a ZIP archive" if _ZIP_END in _tail(file, _ZIP_TAIL_BYTES) else "a part of a split ZIP"


def claims_to_be_ct(file: Path) -> bool:
    """Whether a file begins as DICOM and its meta information (PS3.10 7.1) names a class of CT images."""
    head = _head(file, 1024)
    return head[128:132] == b"DICM" and any(uid.encode() + end in head for uid in CT_STORAGE for end in _ENDS)


def is_package(file: Path) -> bool:
    """Whether a file is a ZIP by form and no archive of images; its first member (APPNOTE 4.3.7) says so."""
    head = _head(file, 64)
    return head.startswith(ZIP_MAGIC) and head[30:].startswith(tuple(map(str.encode, _PACKAGES)))


def looks_like_zip(file: Path) -> bool:
    """Whether a file begins as a ZIP does: with a member, with the end of an empty one, or as a split one."""
    return _head(file).startswith((ZIP_MAGIC, EMPTY_ZIP_MAGIC, SPLIT_ZIP_MAGIC))


def why_no_zip(file: Path) -> str | None:
    """A sentence about a file that was sent for a ZIP and is known to be another thing; None about others."""
    head = _head(file)
    kind = _archive_kind(head)
    if not head:
        return "The file is empty."
    if kind is not None:
        return f"The file is {kind}, {_UNPACK}"
    if head.startswith(b"MZ"):
        return f"The file is a program (perhaps a self-extracting archive), {_UNPACK}"
    if head[128:132] == b"DICM":
        return "The file is one DICOM image and not a ZIP archive: pack all images of the study as a ZIP."
    return None


def _head(file: Path, size: int = _HEAD_BYTES) -> bytes:
    with file.open("rb") as stream:
        return stream.read(size)


def _tail(file: Path, size: int) -> bytes:
    with file.open("rb") as stream:
        stream.seek(max(0, os.fstat(stream.fileno()).st_size - size))
        return stream.read(size)


def _ends_on_another_disk(file: Path) -> bool:
    """Whether a file ends as the last part of a split ZIP does: its directory began on another disk."""
    end = _tail(file, 22)
    return end.startswith(_ZIP_END) and end[4:6] != b"\0\0"


def _archive_kind(head: bytes) -> str | None:
    if head.startswith(b"PK") or head[128:132] == b"DICM":
        return None
    return next((name for place, magic, name in _ARCHIVES if head.startswith(magic, place)), None)
