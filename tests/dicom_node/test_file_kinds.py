"""Files that are no ZIP are called by their name, with what to do."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from pathlib import Path

import pytest

from dicom_node.file_kinds import archive_kind, looks_like_zip, why_no_zip


def tar(mode: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        archive.addfile(tarfile.TarInfo("IM1"), io.BytesIO())
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"7z\xbc\xaf\x27\x1c" + bytes(40), "a 7z archive"),
        (b"Rar!\x1a\x07\x00" + bytes(40), "a RAR archive"),
        (b"Rar!\x1a\x07\x01\x00" + bytes(40), "a RAR archive"),
        (tar("w:"), "a tar archive"),
        (tar("w:gz"), "a gzip archive"),
        (gzip.compress(b"image"), "a gzip archive"),
        (bz2.compress(b"image"), "a bzip2 archive"),
        (lzma.compress(b"image"), "an xz archive"),
        (b"MSCF" + bytes(40), "a cabinet archive"),
        (bytes(0x8000) + b"\x01CD001\x01" + bytes(40), "an image of a CD"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{len(value)} bytes",  # gzip writes the time
)
def test_other_archives_are_named_with_what_to_do(tmp_path: Path, data: bytes, name: str) -> None:
    file = tmp_path / "study.zip"
    file.write_bytes(data)
    assert (archive_kind(file) or "").startswith(name)
    sentence = why_no_zip(file) or ""
    assert name in sentence
    assert "not supported" in sentence
    assert "as a ZIP" in sentence
    assert not looks_like_zip(file)


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "empty"),
        (b"MZ\x90\x00" + bytes(60), "self-extracting"),
        (bytes(128) + b"DICM" + bytes(100), "one DICOM image"),
        (b"Rar!\x1a\x07" + bytes(122) + b"DICM" + bytes(100), "one DICOM image"),
    ],
)
def test_files_that_are_no_archive_are_told_apart(tmp_path: Path, data: bytes, word: str) -> None:
    file = tmp_path / "study.zip"
    file.write_bytes(data)
    assert word in (why_no_zip(file) or "")
    assert archive_kind(file) is None


def test_zip_and_text_are_left_to_be_read(tmp_path: Path) -> None:
    file = tmp_path / "study.zip"
    for members in ({}, {"IM1": "image"}):
        with zipfile.ZipFile(file, "w") as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        assert looks_like_zip(file)
        assert why_no_zip(file) is None
        assert archive_kind(file) is None
    file.write_text("text")
    assert why_no_zip(file) is None
    assert not looks_like_zip(file)
