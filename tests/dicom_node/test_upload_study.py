"""An archive among the files is not passed over in silence: it is named in the refusal or in a warning."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from dicom_node.file_kinds import unopened_archive
from dicom_node.settings import HttpSettings
from dicom_node.upload_study import uploaded_study
from dicom_node.uploads import Upload, receive_paths, receive_zip
from inference.errors import RefusalCode, UploadRefusal, VolumeRefusal
from inference.series import SeriesChoice
from tests.dicom_node.test_uploads import nifti, packed
from tests.inference.synthetic import STUDY, ct_image, ct_series, save

HTTP = HttpSettings()
PATIENT = "Geheim_Niemand"


def tarred(mode: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        archive.addfile(tarfile.TarInfo(PATIENT), io.BytesIO())
    return buffer.getvalue()


def split() -> dict[str, bytes]:
    """One ZIP on three disks (APPNOTE 8.5): the middle one has no mark of its own."""
    whole = packed({"image": bytes(range(256)) * 40}, zipfile.ZIP_STORED)
    end = whole.index(b"PK\x05\x06")
    last = whole[4000:end] + struct.pack("<4s2H", b"PK\x05\x06", 2, 2) + whole[end + 8 :]
    return {"a.z01": b"PK\x07\x08" + whole[:2000], "a.z02": whole[2000:4000], "a.zip": last}


ARCHIVES: dict[str, tuple[dict[str, bytes], str]] = {
    "7z": ({"a.7z": b"7z\xbc\xaf\x27\x1c" + bytes(40)}, "a 7z archive"),
    "RAR": ({"a.rar": b"Rar!\x1a\x07\x01\x00" + bytes(40)}, "a RAR archive"),
    "tar": ({"a.tar": tarred("w:")}, "a tar archive"),
    "tar.gz": ({"a.tgz": tarred("w:gz")}, "a gzip archive (.gz, .tgz)"),
    "gzip": ({"IM1.gz": gzip.compress(b"image")}, "a gzip archive (.gz, .tgz)"),
    "bzip2": ({"IM1.bz2": bz2.compress(b"image")}, "a bzip2 archive"),
    "xz": ({"IM1.xz": lzma.compress(b"image")}, "an xz archive"),
    "cabinet": ({"a.cab": b"MSCF" + bytes(40)}, "a cabinet archive"),
    "CD": ({"cd.iso": bytes(0x8000) + b"\x01CD001\x01" + bytes(40)}, "an image of a CD (ISO)"),
    "split ZIP": (split(), "a part of a split ZIP"),
    "first part": ({"a.zip.001": packed({"image": bytes(9000)}, 0)[:5000]}, "a part of a split ZIP"),
    "first part of 7z": ({"a.7z.001": b"7z\xbc\xaf\x27\x1c" + bytes(40)}, "a 7z archive"),
}  # fmt: skip


def received(tmp_path: Path, members: dict[str, bytes]) -> Upload:
    source = tmp_path / "upload.zip"
    source.write_bytes(packed(members))
    return receive_zip(source, HTTP, tmp_path / "files")


def images(tmp_path: Path) -> dict[str, bytes]:
    paths = save(ct_series(24), tmp_path / "series")
    return {f"CT/{path.name}": path.read_bytes() for path in paths}


def chosen(upload: Upload) -> SeriesChoice:
    return uploaded_study(upload, 60).choose()


@pytest.mark.parametrize("kind", ARCHIVES)
def test_without_an_image_the_refusal_names_the_archive(kind: str, tmp_path: Path) -> None:
    members, name = ARCHIVES[kind]
    upload = received(tmp_path, {f"{PATIENT}/{file}": data for file, data in members.items()})
    with pytest.raises(UploadRefusal) as caught:
        uploaded_study(upload, 60)
    assert caught.value.code is RefusalCode.NOT_DICOM
    assert f"archives, which are not opened ({name})" in caught.value.sentence
    assert "as one ZIP" in caught.value.sentence
    assert PATIENT not in caught.value.sentence


@pytest.mark.parametrize("kind", ARCHIVES)
def test_beside_images_a_warning_names_the_archive(kind: str, tmp_path: Path) -> None:
    members, name = ARCHIVES[kind]
    choice = chosen(received(tmp_path, {**images(tmp_path), **members}))
    assert len(choice.sop_instance_uids) == 24
    (warning,) = choice.warnings
    assert name in warning
    assert "not opened" in warning


def test_several_are_counted_and_each_kind_is_named_once(tmp_path: Path) -> None:
    members = {**ARCHIVES["7z"][0], **ARCHIVES["RAR"][0], "b.rar": ARCHIVES["RAR"][0]["a.rar"], **split()}
    (warning,) = chosen(received(tmp_path, {**images(tmp_path), **members})).warnings
    assert warning.startswith("5 archive(s)")
    assert warning.endswith("a 7z archive, a RAR archive, a part of a split ZIP.")


def test_what_lies_beside_images_on_a_cd_is_no_archive(tmp_path: Path) -> None:
    jar = packed({"META-INF/MANIFEST.MF": b"x"})
    letter = packed({"[Content_Types].xml": b"<Types/>"})
    tagged = save([ct_image(24)], tmp_path / "more")[0].read_bytes()
    disguised = b"Rar!\x1a\x07\x01\x00" + tagged[8:]
    others = {"viewer.jar": jar, "letter.docx": letter, "viewer.exe": b"MZ" + bytes(60), "readme": b"text",
              "copy": tagged, "mask.nii.gz": gzip.compress(nifti()), "IM.001": disguised}  # fmt: skip
    assert chosen(received(tmp_path, {**images(tmp_path), **others})).warnings == ()
    folder = tmp_path / "cd"
    folder.mkdir()
    for name, data in {**others, "nothing": b""}.items():
        (folder / name).write_bytes(data)
        assert unopened_archive(folder / name) is None or name == "mask.nii.gz", name


def test_an_archive_in_a_folder_is_said(tmp_path: Path) -> None:
    save(ct_series(24), tmp_path / "study")
    (tmp_path / "study" / "rest.zip").write_bytes(packed({"image": b"data"}))
    (warning,) = chosen(receive_paths([tmp_path / "study"], HTTP, tmp_path / "work")).warnings
    assert "a ZIP archive" in warning
    folder = tmp_path / "packed"
    folder.mkdir()
    (folder / "study.zip").write_bytes(packed(images(tmp_path)))
    with pytest.raises(UploadRefusal, match=r"not opened \(a ZIP archive\)"):
        uploaded_study(receive_paths([folder], HTTP, tmp_path / "more"), 60)


def test_the_study_asked_for_and_refusals_are_as_ever(tmp_path: Path) -> None:
    two = images(tmp_path)
    (other,) = save([ct_image(30, StudyInstanceUID="1.2.3")], tmp_path / "other")
    upload = received(tmp_path, {**two, "other": other.read_bytes(), **ARCHIVES["7z"][0]})
    with pytest.raises(UploadRefusal) as caught:
        uploaded_study(upload, 60)
    assert caught.value.code is RefusalCode.MIXED_STUDIES
    assert uploaded_study(replace(upload, study_uid=STUDY), 60).uid == STUDY


def damaged(folder: Path, count: int) -> Upload:
    """A series whose topmost files end within their headers, after the meta information."""
    paths = save(ct_series(30), folder)
    for path in paths[-count:]:
        path.write_bytes(path.read_bytes()[:400])
    return Upload(folder, "dicom", tuple(paths), "")


def test_images_damaged_before_their_pixels_are_said(tmp_path: Path) -> None:
    choice = uploaded_study(damaged(tmp_path, 2), 60).choose()
    assert len(choice.sop_instance_uids) == 28
    assert choice.warnings == (
        "2 CT image(s) among the files are damaged, cannot be read and were left out.",
    )


def test_a_third_damaged_image_is_refused_wherever_it_lay(tmp_path: Path) -> None:
    with pytest.raises(VolumeRefusal) as caught:
        uploaded_study(damaged(tmp_path, 3), 60)
    assert caught.value.code is RefusalCode.UNREADABLE_PIXELS
    assert "3 CT images" in caught.value.sentence


def test_copies_and_other_files_are_not_damaged_images(tmp_path: Path) -> None:
    paths = [*save(ct_series(30), tmp_path / "a"), *save(ct_series(30), tmp_path / "b")]
    notes = tmp_path / "notes"
    notes.write_bytes(bytes(128) + b"DICM" + b"1.2.840.10008.5.1.4.1.1.88.22\0")
    upload = Upload(tmp_path, "dicom", (*paths, notes, notes, notes), "")
    assert uploaded_study(upload, 60).choose().warnings == ()
