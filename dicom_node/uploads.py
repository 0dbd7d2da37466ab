"""What a caller hands over (ZIP, NIfTI, folder, files) becomes an `Upload`: files, and a folder to clear.

    receive_zip      a ZIP of DICOM files           POST /predict, `dicom-node predict study.zip`
    receive_nifti    .nii or .nii.gz, by content    POST /predict_nifti, `dicom-node predict volume.nii.gz`
    receive_paths    any of them, or plain files    `dicom-node predict`

An upload's files live in its folder only; whoever made the folder removes it. Where the disk has no room for
them each of these raises `UploadRefusal` with `no_space`.
"""

from __future__ import annotations

import shutil
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import BinaryIO, Literal

from dicom_node.disk_space import refused_without_space
from dicom_node.file_kinds import GZIP_MAGIC, archive_kind, looks_like_zip, why_no_zip
from dicom_node.settings import HttpSettings
from dicom_node.sizes import size_in_words
from dicom_node.zip_extraction import ZipLimits, extract_zip, extract_zips
from inference.dicom_files import files_below
from inference.errors import RefusalCode, UploadRefusal

_CHUNK = 1 << 20
_NIFTI_HEADER_BYTES = 352


@dataclass(frozen=True)
class Upload:
    """Files of one upload.

    `folder` is removed by its maker when the answer is out. `kind` "dicom": `files` are candidates in the
    archive's order, some may be no DICOM. `kind` "nifti": one uncompressed NIfTI file. `name` is the volume's
    name (file name without ending) for NIfTI, "" for DICOM. `study_uid` is the study asked for where there
    may be several, None where there must be only one.
    """

    folder: Path
    kind: Literal["dicom", "nifti"]
    files: tuple[Path, ...]
    name: str
    study_uid: str | None = None


@refused_without_space()
def receive_zip(archive: Path, http: HttpSettings, folder: Path) -> Upload:
    """Unpack a ZIP of DICOM files into `folder`.

    Raises
    ------
    UploadRefusal
        As `extract_zip`; `not_a_zip` for empty files and other kinds of archive, `not_dicom` without files.
    """
    _refuse_other_kinds(archive)
    files = extract_zip(archive, folder, zip_limits(http))
    if not files:
        raise UploadRefusal(RefusalCode.NOT_DICOM, "The archive holds no files.")
    return Upload(folder=folder, kind="dicom", files=files, name="")


@refused_without_space()
def receive_nifti(file: Path, filename: str, http: HttpSettings, folder: Path) -> Upload:
    """Bring a NIfTI volume, compressed or not, into `folder` as one uncompressed file.

    Raises
    ------
    UploadRefusal
        `not_a_nifti` for what is none or is truncated, `too_large` beyond `max_member_bytes` inflated,
        `unpacking_too_slow` beyond `unpack_timeout_s`.
    """
    deadline = time.monotonic() + http.unpack_timeout_s
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "volume.nii"
    with file.open("rb") as source, target.open("wb") as sink:
        written = 0
        for chunk in _nifti_chunks(source):
            if written == 0 and not _is_nifti_header(chunk):
                raise UploadRefusal(
                    RefusalCode.NOT_A_NIFTI, "The file is not a NIfTI volume (.nii or .nii.gz)."
                )
            written += len(chunk)
            if written > http.max_member_bytes:
                largest = size_in_words(http.max_member_bytes)
                raise UploadRefusal(RefusalCode.TOO_LARGE, f"The volume is larger than {largest} unpacked.")
            if time.monotonic() > deadline:
                raise UploadRefusal(
                    RefusalCode.UNPACKING_TOO_SLOW,
                    f"The volume could not be unpacked within {http.unpack_timeout_s:g} s.",
                )
            sink.write(chunk)
    if written == 0:
        raise UploadRefusal(RefusalCode.NOT_A_NIFTI, "The file is empty.")
    return Upload(folder=folder, kind="nifti", files=(target,), name=volume_name(filename))


@refused_without_space()
def receive_paths(paths: Sequence[Path], http: HttpSettings, folder: Path) -> Upload:
    """What a person names on the command line: folders, ZIPs and DICOM files, or one NIfTI volume.

    Files of this machine are read where they lie; only the ZIPs that are named are unpacked into `folder`,
    all of them under the caps of one upload. The content says what a file is; where it is nothing that can be
    read, its name says what was meant. An archive in a folder is not opened.

    Raises
    ------
    FileNotFoundError
        If a path does not exist.
    UploadRefusal
        As `receive_zip` and `receive_nifti`; `not_dicom` for an empty folder, and for a NIfTI volume beside
        other files.
    """
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"no such file or folder: {path}")
    volumes = [path for path in paths if path.is_file() and _is_meant_as_nifti(path)]
    if volumes and len(paths) == 1:
        return receive_nifti(volumes[0], volumes[0].name, http, folder)
    if volumes:
        raise UploadRefusal(
            RefusalCode.NOT_DICOM, "A NIfTI volume is read alone: name no other file beside it."
        )
    archives = [path for path in paths if path.is_file() and _is_meant_as_zip(path)]
    if len(paths) == len(archives) == 1:
        return receive_zip(archives[0], http, folder)
    for archive in archives:
        _refuse_other_kinds(archive)
    loose = (file for path in paths if path not in archives for file in files_below(path))
    files = (*loose, *extract_zips(archives, folder, zip_limits(http)))
    if not files:
        raise UploadRefusal(RefusalCode.NOT_DICOM, "There are no files here.")
    return Upload(folder=folder, kind="dicom", files=files, name="")


def zip_limits(http: HttpSettings) -> ZipLimits:
    """The archive's part of the HTTP settings."""
    return ZipLimits(
        max_members=http.max_members,
        max_member_bytes=http.max_member_bytes,
        max_inflated_bytes=http.max_inflated_bytes,
        max_ratio=http.max_inflation_ratio,
        timeout_s=http.unpack_timeout_s,
    )


def is_nifti(file: Path) -> bool:
    """Whether the content is NIfTI-1 or NIfTI-2, gzipped or not; the name does not matter."""
    try:
        with file.open("rb") as source:
            return _is_nifti_header(next(_nifti_chunks(source), b""))
    except UploadRefusal:
        return False


def volume_name(filename: str) -> str:
    """File name without folders and ending, for `nifti_<name>`: printable, at most 128 characters."""
    name = PureWindowsPath(filename).name
    for ending in (".nii.gz", ".nii", ".gz"):
        if name.lower().endswith(ending):
            name = name[: -len(ending)]
            break
    return "".join(character for character in name if character.isprintable())[:128] or "volume"


def remove_upload(folder: Path) -> None:
    """Remove an upload's folder with all it holds; a folder already gone is no error."""
    shutil.rmtree(folder, ignore_errors=True)


def _refuse_other_kinds(archive: Path) -> None:
    """Refuse as no ZIP what is known to be something else."""
    if is_nifti(archive):
        raise UploadRefusal(
            RefusalCode.NOT_A_ZIP, "The file is a NIfTI volume and not a ZIP archive: send it as a volume."
        )
    foreign = why_no_zip(archive)
    if foreign is not None:
        raise UploadRefusal(RefusalCode.NOT_A_ZIP, foreign)


def _is_meant_as_nifti(file: Path) -> bool:
    return is_nifti(file) or file.name.lower().endswith((".nii", ".nii.gz"))


def _is_meant_as_zip(file: Path) -> bool:
    return looks_like_zip(file) or archive_kind(file) is not None or file.name.lower().endswith(".zip")


def _nifti_chunks(source: BinaryIO) -> Iterator[bytes]:
    """The volume's bytes, inflated if they are gzipped, never more than a chunk at once."""
    chunk = source.read(_CHUNK)
    if not chunk.startswith(GZIP_MAGIC):
        while chunk:
            yield chunk
            chunk = source.read(_CHUNK)
        return
    inflater = zlib.decompressobj(wbits=31)
    while chunk:
        try:
            data = inflater.decompress(chunk, _CHUNK)
        except zlib.error as error:
            raise UploadRefusal(RefusalCode.NOT_A_NIFTI, "The compressed volume is damaged.") from error
        if data:
            yield data
        chunk = inflater.unconsumed_tail or (b"" if inflater.eof else source.read(_CHUNK))
    if not inflater.eof:
        raise UploadRefusal(RefusalCode.NOT_A_NIFTI, "The compressed volume is truncated.")


def _is_nifti_header(head: bytes) -> bool:
    """NIfTI-1: 348 bytes and magic `n+1`; NIfTI-2: 540 bytes and magic `n+2`; either byte order."""
    if len(head) < _NIFTI_HEADER_BYTES:
        return False
    sizes = {int.from_bytes(head[:4], "little"), int.from_bytes(head[:4], "big")}
    first = 348 in sizes and head[344:348] == b"n+1\0"
    second = 540 in sizes and head[4:8] == b"n+2\0"
    return first or second
