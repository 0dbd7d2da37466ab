"""Uploads as strangers send them: every attack has its code, and nothing lands outside the folder."""

from __future__ import annotations

import gzip
import io
import stat
import struct
import tempfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from dicom_node.settings import HttpSettings
from dicom_node.uploads import is_nifti, receive_nifti, receive_paths, receive_zip, volume_name
from inference.errors import RefusalCode, UploadRefusal

HTTP = HttpSettings()


def packed(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def nifti(size: int = 400) -> bytes:
    header = bytearray(size)
    header[0:4] = struct.pack("<i", 348)
    header[344:348] = b"n+1\0"
    return bytes(header)


def refused(data: bytes, folder: Path, http: HttpSettings = HTTP) -> RefusalCode:
    folder = Path(tempfile.mkdtemp(dir=folder))
    source = folder / "upload.zip"
    source.write_bytes(data)
    with pytest.raises(UploadRefusal) as caught:
        receive_zip(source, http, folder / "files")
    escaped = [path for path in folder.rglob("*") if path.is_file() and path != source]
    assert all(path.parent == folder / "files" and path.name.isdigit() for path in escaped)
    return caught.value.code


def test_files_are_numbered_and_keep_their_bytes(tmp_path: Path) -> None:
    source = tmp_path / "upload.zip"
    source.write_bytes(packed({"CT/Иванов Иван.dcm": b"one", "CT/IM2": b"two", "CT/": b"", "DICOMDIR": b"x"}))
    upload = receive_zip(source, HTTP, tmp_path / "files")
    assert upload.kind == "dicom"
    assert [file.read_bytes() for file in upload.files] == [b"one", b"two"]
    assert all(file.parent == tmp_path / "files" and file.name.isdigit() for file in upload.files)
    assert len(list((tmp_path / "files").iterdir())) == 2


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "/etc/evil",
        "a/../../evil",
        "C:\\evil",
        "..\\evil",
        "\\\\host\\share\\evil",
        "c:evil",
        "\\evil",
    ],
)
def test_paths_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    assert refused(packed({"fine": b"data", name: b"evil"}), tmp_path) is RefusalCode.UNSAFE_ARCHIVE


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK])
def test_links_and_devices_are_refused(tmp_path: Path, kind: int) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        member = zipfile.ZipInfo("image")
        member.external_attr = (kind | 0o777) << 16
        archive.writestr(member, "/etc/passwd")
    assert refused(buffer.getvalue(), tmp_path) is RefusalCode.UNSAFE_ARCHIVE


def test_encrypted_is_refused(tmp_path: Path) -> None:
    data = bytearray(packed({"image": b"data"}, zipfile.ZIP_STORED))
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    assert refused(bytes(data), tmp_path) is RefusalCode.UNSAFE_ARCHIVE


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_methods_are_refused_with_a_code(tmp_path: Path, method: int) -> None:
    assert refused(packed({"image": b"data"}, method), tmp_path) is RefusalCode.UNSAFE_ARCHIVE


def test_caps_on_members_bytes_and_ratio(tmp_path: Path) -> None:
    many = packed({f"{number}": b"x" for number in range(11)})
    assert refused(many, tmp_path, HttpSettings(max_members=10)) is RefusalCode.TOO_LARGE
    big = packed({"a": bytes(5000)})
    assert refused(big, tmp_path, HttpSettings(max_member_bytes=4999)) is RefusalCode.TOO_LARGE


def test_total_counts_all_members(tmp_path: Path) -> None:
    data = packed({"a": bytes(3000), "b": bytes(3000)})
    assert refused(data, tmp_path, HttpSettings(max_inflated_bytes=5999)) is RefusalCode.TOO_LARGE


def test_bomb_is_stopped_by_what_really_comes_out(tmp_path: Path) -> None:
    """The size that the directory claims is a lie; the bytes are counted."""
    data = bytearray(packed({"bomb": bytes(80 << 20)}))
    local, central = data.index(b"PK\x03\x04"), data.index(b"PK\x01\x02")
    data[local + 22 : local + 26] = data[central + 24 : central + 28] = struct.pack("<I", 100)
    assert refused(bytes(data), tmp_path) in {RefusalCode.UNSAFE_ARCHIVE, RefusalCode.NOT_A_ZIP}
    assert sum(path.stat().st_size for path in tmp_path.rglob("files/*")) <= 65 << 20


def test_honest_bomb_is_refused(tmp_path: Path) -> None:
    assert refused(packed({"bomb": bytes(80 << 20)}), tmp_path) is RefusalCode.UNSAFE_ARCHIVE


def test_directory_that_claims_gigabytes_is_not_read(tmp_path: Path) -> None:
    body = packed({"image": b"data"}) + bytes(3 << 20)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, 3 << 20, len(body) - (3 << 20), 0)
    assert refused(body + end, tmp_path, HttpSettings(max_members=10)) is RefusalCode.TOO_LARGE


def test_nested_once_is_read_twice_is_refused(tmp_path: Path) -> None:
    inner = packed({"image": b"inner"})
    source = tmp_path / "once.zip"
    source.write_bytes(packed({"study.zip": inner, "image": b"outer"}))
    upload = receive_zip(source, HTTP, tmp_path / "once")
    assert sorted(file.read_bytes() for file in upload.files) == [b"inner", b"outer"]
    assert len(list((tmp_path / "once").iterdir())) == 2
    assert refused(packed({"a": packed({"b": inner})}), tmp_path) is RefusalCode.UNSAFE_ARCHIVE


def test_nested_members_share_the_caps(tmp_path: Path) -> None:
    inner = packed({f"{number}": b"x" for number in range(6)})
    limits = HttpSettings(max_members=10)
    assert refused(packed({"a.zip": inner, "b.zip": inner}), tmp_path, limits) is RefusalCode.TOO_LARGE


NO_ZIPS = {
    "empty": (b"", "empty"),
    "text": (b"This is a letter.", "not a ZIP"),
    "7z": (b"7z\xbc\xaf\x27\x1c" + bytes(40), "7z"),
    "rar": (b"Rar!\x1a\x07\x01\x00" + bytes(40), "RAR"),
    "gzip": (gzip.compress(b"tar"), "gzip"),
}


@pytest.mark.parametrize(
    ("data", "word"),
    [*NO_ZIPS.values(), (bytes(128) + b"DICM" + bytes(100), "not a ZIP")],
    ids=[*NO_ZIPS, "dicom"],
)
def test_what_is_no_zip_is_named(tmp_path: Path, data: bytes, word: str) -> None:
    (tmp_path / "upload.zip").write_bytes(data)
    with pytest.raises(UploadRefusal, match=word) as caught:
        receive_zip(tmp_path / "upload.zip", HTTP, tmp_path / "files")
    assert caught.value.code is RefusalCode.NOT_A_ZIP


@pytest.mark.parametrize("data", [nifti(), gzip.compress(nifti())], ids=["plain", "gzip"])
def test_a_volume_sent_for_a_zip_is_called_one(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "upload.zip").write_bytes(data)
    with pytest.raises(UploadRefusal, match="NIfTI") as caught:
        receive_zip(tmp_path / "upload.zip", HTTP, tmp_path / "files")
    assert caught.value.code is RefusalCode.NOT_A_ZIP


@pytest.mark.parametrize(("data", "word"), NO_ZIPS.values(), ids=NO_ZIPS)
def test_a_path_that_was_meant_as_a_zip_is_refused_as_one(tmp_path: Path, data: bytes, word: str) -> None:
    file = tmp_path / "Study.ZIP"
    file.write_bytes(data)
    with pytest.raises(UploadRefusal, match=word) as caught:
        receive_paths([file], HTTP, tmp_path / "work")
    assert caught.value.code is RefusalCode.NOT_A_ZIP


def test_a_path_says_by_its_content_first_what_it_is(tmp_path: Path) -> None:
    archive, volume, text = tmp_path / "study.nii.zip", tmp_path / "volume.zip", tmp_path / "volume.nii.gz"
    archive.write_bytes(packed({"x": b"packed"}))
    volume.write_bytes(gzip.compress(nifti()))
    text.write_text("This is a letter.")
    assert receive_paths([archive], HTTP, tmp_path / "one").kind == "dicom"
    assert receive_paths([volume], HTTP, tmp_path / "two").kind == "nifti"
    with pytest.raises(UploadRefusal) as caught:
        receive_paths([text], HTTP, tmp_path / "three")
    assert caught.value.code is RefusalCode.NOT_A_NIFTI
    tar = tmp_path / "study.tar"
    tar.write_bytes(bytes(257) + b"ustar" + bytes(250))
    with pytest.raises(UploadRefusal, match="tar archive"):
        receive_paths([tar], HTTP, tmp_path / "four")


def test_truncated_and_damaged_are_not_a_zip(tmp_path: Path) -> None:
    data = packed({"image": bytes(range(256)) * 40})
    for cut in (4, 30, len(data) // 2, len(data) - 1):
        assert refused(data[:cut], tmp_path) is RefusalCode.NOT_A_ZIP
    damaged = bytearray(packed({"image": b"some data"}, zipfile.ZIP_STORED))
    damaged[damaged.index(b"some data")] ^= 0xFF
    assert refused(bytes(damaged), tmp_path) is RefusalCode.NOT_A_ZIP


def test_empty_archive_is_not_dicom(tmp_path: Path) -> None:
    assert refused(packed({}), tmp_path) is RefusalCode.NOT_DICOM


@given(place=st.integers(0, 400), value=st.integers(0, 255))
@hypothesis_settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_changed_byte_is_read_or_refused(tmp_path: Path, place: int, value: int) -> None:
    """No other exception than a refusal, whatever a byte of the archive says."""
    data = bytearray(packed({"a/image": b"data" * 9, "b": b"more"}))
    data[place % len(data)] = value
    source = tmp_path / "fuzz.zip"
    source.write_bytes(bytes(data))
    target = Path(tempfile.mkdtemp(dir=tmp_path))
    try:
        upload = receive_zip(source, HTTP, target)
    except UploadRefusal:
        return
    assert all(file.parent == target for file in upload.files)


@pytest.mark.parametrize("name", ["Case 7.nii", "dir/Case 7.nii.gz", "C:\\data\\Case 7.nii.gz"])
def test_nifti_is_known_by_content_and_named_by_file(tmp_path: Path, name: str) -> None:
    source = tmp_path / "upload"
    source.write_bytes(gzip.compress(nifti()) if name.endswith("gz") else nifti())
    upload = receive_nifti(source, name, HTTP, tmp_path / "files")
    assert (upload.kind, upload.name) == ("nifti", "Case 7")
    assert upload.files[0].read_bytes() == nifti()
    assert is_nifti(source)


@pytest.mark.parametrize(
    "data",
    [b"", b"PK\x03\x04", nifti()[:100], gzip.compress(b"text"), gzip.compress(nifti())[:-12], b"\x1f\x8b"],
    ids=["empty", "zip", "short", "gzip of text", "truncated gzip", "gzip magic alone"],
)
def test_what_is_no_nifti_is_refused(tmp_path: Path, data: bytes) -> None:
    source = tmp_path / "upload"
    source.write_bytes(data)
    with pytest.raises(UploadRefusal) as caught:
        receive_nifti(source, "a.nii.gz", HTTP, tmp_path / "files")
    assert caught.value.code is RefusalCode.NOT_A_NIFTI


def test_time_for_a_volume_is_capped(tmp_path: Path) -> None:
    source = tmp_path / "upload"
    source.write_bytes(gzip.compress(nifti()))
    with pytest.raises(UploadRefusal) as caught:
        receive_nifti(source, "a.nii.gz", HttpSettings(unpack_timeout_s=1e-9), tmp_path / "files")
    assert caught.value.code is RefusalCode.UNPACKING_TOO_SLOW


def test_nifti_bomb_is_too_large(tmp_path: Path) -> None:
    source = tmp_path / "upload"
    source.write_bytes(gzip.compress(nifti(8 << 20)))
    with pytest.raises(UploadRefusal) as caught:
        receive_nifti(source, "a.nii.gz", HttpSettings(max_member_bytes=2 << 20), tmp_path / "files")
    assert caught.value.code is RefusalCode.TOO_LARGE
    assert (tmp_path / "files" / "volume.nii").stat().st_size <= 2 << 20


def test_volume_name_is_printable_and_never_empty() -> None:
    assert volume_name("a\nb\x1b[31m.nii") == "ab[31m"
    assert volume_name(".nii.gz") == "volume"


def test_paths_of_this_machine_are_read_where_they_lie(tmp_path: Path) -> None:
    study = tmp_path / "study" / "series"
    study.mkdir(parents=True)
    (study / "2.dcm").write_bytes(b"b")
    (study / "1.dcm").write_bytes(b"a")
    (study / "link").symlink_to("/etc/hostname")
    upload = receive_paths([tmp_path / "study"], HTTP, tmp_path / "work")
    assert upload.files == (study / "1.dcm", study / "2.dcm")
    archive = tmp_path / "named-otherwise.bin"
    archive.write_bytes(packed({"x": b"packed"}))
    assert receive_paths([archive], HTTP, tmp_path / "work").files[0].read_bytes() == b"packed"
    with pytest.raises(FileNotFoundError):
        receive_paths([tmp_path / "absent"], HTTP, tmp_path / "work")


def test_several_paths_are_read_together_and_zips_among_them_opened(tmp_path: Path) -> None:
    study = tmp_path / "study"
    study.mkdir()
    for name in ("1.dcm", "2.dcm", "3.dcm"):
        (study / name).write_bytes(name.encode())
    first, second = tmp_path / "a.zip", tmp_path / "b.bin"
    first.write_bytes(packed({"x": b"in a", "more.zip": packed({"y": b"nested"})}))
    second.write_bytes(packed({"x": b"in b"}))
    upload = receive_paths([first, study, second, study / "1.dcm"], HTTP, tmp_path / "work")
    assert sorted(file.read_bytes() for file in upload.files) == sorted(
        [b"1.dcm", b"1.dcm", b"2.dcm", b"3.dcm", b"in a", b"nested", b"in b"]
    )
    assert len(list((tmp_path / "work").iterdir())) == 3


@pytest.mark.parametrize(
    "limits", [{"max_members": 3}, {"max_inflated_bytes": 3999}, {"unpack_timeout_s": 1e-9}]
)
def test_several_zips_share_the_caps_of_one(tmp_path: Path, limits: dict[str, float]) -> None:
    archives = []
    for name in ("a.zip", "b.zip"):
        archives.append(tmp_path / name)
        archives[-1].write_bytes(packed({"x": bytes(1000), "y": bytes(1000)}))
    with pytest.raises(UploadRefusal) as caught:
        receive_paths(archives, HttpSettings(**limits), tmp_path / "work")  # type: ignore[arg-type]
    assert caught.value.code in {RefusalCode.TOO_LARGE, RefusalCode.UNPACKING_TOO_SLOW}
    assert len(receive_paths(archives, HTTP, tmp_path / "again").files) == 4


@pytest.mark.parametrize(
    ("name", "data", "word"),
    [
        ("a.7z", b"7z\xbc\xaf\x27\x1c" + bytes(40), "7z archive"),
        ("a.zip", b"This is a letter.", "not a ZIP"),
        ("a.nii.gz", gzip.compress(nifti()), "read alone"),
        ("volume", nifti(), "read alone"),
    ],
    ids=["7z", "letter", "volume by name", "volume by content"],
)
def test_what_cannot_be_read_among_several_paths_is_refused(
    tmp_path: Path, name: str, data: bytes, word: str
) -> None:
    image, other = tmp_path / "image.dcm", tmp_path / name
    image.write_bytes(b"image")
    other.write_bytes(data)
    with pytest.raises(UploadRefusal, match=word):
        receive_paths([image, other], HTTP, tmp_path / "work")
