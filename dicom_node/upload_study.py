"""The one study that an upload's files hold, and what among them could not be opened, in words."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from dicom_node.file_kinds import claims_to_be_ct, unopened_archive
from dicom_node.uploads import Upload, is_nifti
from inference.dicom_files import DicomFiles, one_study, read_headers
from inference.errors import RefusalCode, UploadRefusal, VolumeRefusal
from inference.instance_header import InstanceHeader
from inference.series import SeriesChoice, choose_series
from inference.volume import MAX_BROKEN_SLICES


@dataclass(frozen=True)
class UploadedStudy:
    """`headers` are those of the study, `files` are all that were found, `warnings` what was left aside."""

    files: DicomFiles
    headers: tuple[InstanceHeader, ...]
    warnings: tuple[str, ...]

    @property
    def uid(self) -> str:
        """Study Instance UID."""
        return self.headers[0].study_uid

    def choose(self) -> SeriesChoice:
        """The series to analyse.

        Raises
        ------
        SeriesRefusal
            As `choose_series`.
        """
        choice = choose_series(self.headers)
        return replace(choice, warnings=(*self.warnings, *choice.warnings))


def uploaded_study(upload: Upload, reading_timeout_s: float) -> UploadedStudy:
    """Read the headers of an upload of DICOM files.

    Raises
    ------
    UploadRefusal
        `not_dicom`, with the archives that were not opened; `mixed_patients`, `mixed_studies`,
        `study_not_found`.
    VolumeRefusal
        `reading_too_slow`; `unreadable_pixels` if more CT images than `MAX_BROKEN_SLICES` are damaged so that
        nobody can say whose they are.
    """
    try:
        files = read_headers(upload.files, time.monotonic() + reading_timeout_s)
    except UploadRefusal as refusal:
        archives = _unopened(upload.files)
        if refusal.code is not RefusalCode.NOT_DICOM or not archives:
            raise
        raise UploadRefusal(
            refusal.code,
            f"{refusal.sentence} {archives.total()} of them are archives, which are not opened"
            f" ({_listed(archives)}): unpack them, and pack the DICOM files as one ZIP.",
        ) from refusal
    headers = one_study(files.headers, upload.study_uid)
    known = set(files.paths.values())
    archives = _unopened(file for file in upload.files if file not in known)
    warnings = []
    if archives:
        warnings.append(
            f"{archives.total()} archive(s) among the files were not opened, and images in them not read:"
            f" {_listed(archives)}."
        )
    if broken := sum(map(claims_to_be_ct, files.unreadable)):
        if broken > MAX_BROKEN_SLICES:
            raise VolumeRefusal(
                RefusalCode.UNREADABLE_PIXELS,
                f"{broken} CT images among the files are damaged before their pixels: nobody knows to which"
                " series they belong.",
            )
        warnings.append(
            f"{broken} CT image(s) among the files are damaged, cannot be read and were left out."
        )
    return UploadedStudy(files, headers, tuple(warnings))


def _unopened(files: Iterable[Path]) -> Counter[str]:
    """How many archives of each kind are among files; a compressed NIfTI volume is none."""
    kinds = ((file, unopened_archive(file)) for file in files)
    return Counter(kind for file, kind in kinds if kind is not None and not is_nifti(file))


def _listed(archives: Counter[str]) -> str:
    return ", ".join(sorted(archives))
