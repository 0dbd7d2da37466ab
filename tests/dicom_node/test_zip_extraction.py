"""Archives as strangers make them, byte by byte where no packer makes them: read, or refused in words."""

from __future__ import annotations

import io
import struct
import tempfile
import tracemalloc
import zipfile
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from dicom_node.zip_extraction import ZipLimits, extract_zip
from inference.errors import RefusalCode, UploadRefusal

LIMITS = ZipLimits(
    max_members=100, max_member_bytes=1 << 26, max_inflated_bytes=1 << 27, max_ratio=200, timeout_s=60
)
PATIENT = "Geheim_Niemand"


@dataclass(frozen=True)
class Member:
    """One member, and what headers say of it where that is not the truth; `at` shares another's header."""

    data: bytes
    name: bytes = f"{PATIENT}/IM1".encode()
    method: int = 8
    flags: int = 0
    crc: int | None = None
    unpacked_bytes: int | None = None
    packed_bytes: int | None = None
    at: int | None = None
    disk: int = 0


def archive(
    *members: Member,
    before: bytes = b"",
    counted: bool = False,
    end: tuple[int, int, int] = (0, 0, 0),
    comment: bytes = b"",
) -> bytes:
    """A ZIP (APPNOTE 4.3).

    Offsets count what stands `before` it if that is `counted`; `end` gives the end's two numbers of disks,
    and how many of the entries are on others.
    """
    body, directory = bytearray(before), bytearray()
    uncounted = 0 if counted else len(before)
    for member in members:
        deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
        packed = deflater.compress(member.data) + deflater.flush() if member.method == 8 else member.data
        numbers = struct.pack(
            "<5H3L2H", 20, member.flags, member.method, 0, 0,
            zlib.crc32(member.data) if member.crc is None else member.crc,
            len(packed) if member.packed_bytes is None else member.packed_bytes,
            len(member.data) if member.unpacked_bytes is None else member.unpacked_bytes,
            len(member.name), 0,
        )  # fmt: skip
        start = len(body) - uncounted if member.at is None else member.at
        if member.at is None:
            body += b"PK\x03\x04" + numbers + member.name + packed
        directory += b"PK\x01\x02" + struct.pack("<H", 20) + numbers
        directory += struct.pack("<3H2L", 0, member.disk, 0, 0, start) + member.name
    counts = (*end[:2], len(members) - end[2], len(members))
    places = (len(directory), len(body) - uncounted, len(comment))
    return bytes(body + directory) + struct.pack("<4s4H2LH", b"PK\x05\x06", *counts, *places) + comment


def extracted(data: bytes, folder: Path, limits: ZipLimits = LIMITS) -> list[bytes]:
    """The bytes of all files that come out."""
    target = Path(tempfile.mkdtemp(dir=folder))
    (target / "upload").write_bytes(data)
    files = extract_zip(target / "upload", target / "files", limits)
    assert sorted(files) == sorted((target / "files").iterdir())
    return [file.read_bytes() for file in files]


def refusal(data: bytes, folder: Path, limits: ZipLimits = LIMITS) -> UploadRefusal:
    with pytest.raises(UploadRefusal) as caught:
        extracted(data, folder, limits)
    words = f"{caught.value} {caught.value.remedy}"
    assert PATIENT not in words
    assert caught.value.sentence.endswith(".")
    return caught.value


def test_archives_of_the_builder_are_those_of_the_standard_library(tmp_path: Path) -> None:
    data = archive(Member(b"one" * 999), Member(b"two", b"b", 0), comment=b"a comment")
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        assert opened.testzip() is None
        assert [opened.read(item) for item in opened.infolist()] == extracted(data, tmp_path)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_zip64_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: int) -> None:
    """Every number that can be in a ZIP64 field is there."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 1)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 1)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as packed:
        for number in range(3):
            packed.writestr(f"{number}", bytes([number]) * 3000)
    data = buffer.getvalue()
    assert b"PK\x06\x06" in data
    assert b"PK\x06\x07" in data
    assert extracted(data, tmp_path) == [bytes([number]) * 3000 for number in range(3)]
    locator = data.index(b"PK\x06\x07")
    split = data[: locator + 16] + struct.pack("<L", 2) + data[locator + 20 :]
    assert "split" in refusal(split, tmp_path).sentence
    lost = data[: locator + 8] + struct.pack("<Q", 1 << 63) + data[locator + 16 :]
    assert refusal(lost, tmp_path).code is RefusalCode.NOT_A_ZIP


def test_streamed_archive_is_read(tmp_path: Path) -> None:
    """A packer that cannot seek writes sizes behind the data (4.3.9)."""

    class Pipe(io.RawIOBase):
        data = b""

        def writable(self) -> bool:
            return True

        def write(self, chunk: object) -> int:
            self.data += bytes(chunk)  # type: ignore[call-overload]
            return len(chunk)  # type: ignore[arg-type]

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("a", b"streamed" * 500)
        packed.writestr("b", b"")
    assert b"PK\x07\x08" in pipe.data
    assert extracted(pipe.data, tmp_path) == [b"streamed" * 500, b""]


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("Иванов/IM1".encode("cp866"), 0),
        ("山田/表1".encode("shift-jis"), 0),
        ("王/1".encode("gbk"), 0),
        ("Иванов/IM1".encode(), 0x800),
        (b"\xff\xfe/1", 0x800),
        (b"", 0),
        (b"x" * 65535, 0),
    ],
    ids=["cp866", "shift-jis", "gbk", "utf-8", "said to be utf-8", "none", "longest"],
)
def test_names_in_any_encoding_are_read(tmp_path: Path, name: bytes, flags: int) -> None:
    assert extracted(archive(Member(b"image", name, flags=flags)), tmp_path) == [b"image"]


def test_equal_names_are_two_files(tmp_path: Path) -> None:
    assert extracted(archive(Member(b"one"), Member(b"two")), tmp_path) == [b"one", b"two"]


def test_names_that_differ_in_case_alone_are_two_files(tmp_path: Path) -> None:
    members = Member(b"one", b"CT/IM1"), Member(b"two", b"ct/im1"), Member(b"three", b"CT/IM1/deeper")
    assert extracted(archive(*members), tmp_path) == [b"one", b"two", b"three"]


@pytest.mark.parametrize(
    "name", [b"IM1\0.exe", b"a/../../b", b"C:/IM1", b"\\\\host\\share\\IM1", b"//host/share/IM1", b"..\\IM1"]
)
def test_names_that_no_packer_of_images_writes_are_refused(tmp_path: Path, name: bytes) -> None:
    assert (
        refusal(archive(Member(b"image"), Member(b"evil", name)), tmp_path).code is RefusalCode.UNSAFE_ARCHIVE
    )


def test_what_the_local_header_says_of_size_and_name_decides_nothing(tmp_path: Path) -> None:
    """Only where it disagrees on encryption is it heard; the directory says where the bytes end."""
    data = bytearray(archive(Member(b"image" * 100, b"IM1"), Member(b"more", b"IM2")))
    struct.pack_into("<3L", data, 14, 7, 1 << 30, 3)  # checksum, packed and unpacked size
    data[30:33] = b"/.."
    assert extracted(bytes(data), tmp_path) == [b"image" * 100, b"more"]


def test_memory_does_not_grow_with_what_is_unpacked(tmp_path: Path) -> None:
    limits = replace(LIMITS, max_member_bytes=1 << 28, max_inflated_bytes=1 << 28, max_ratio=5000)
    for method in (0, 8):
        (tmp_path / "upload").write_bytes(
            archive(*(Member(bytes(48 << 20), method=method) for _ in range(2)))
        )
        tracemalloc.start()
        try:
            files = extract_zip(tmp_path / "upload", tmp_path / f"files {method}", limits)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert [file.stat().st_size for file in files] == [48 << 20] * 2
        assert peak < 12 << 20


def test_empty_members_and_folders(tmp_path: Path) -> None:
    folders = Member(b"", b"CT/", 0), Member(b"", b"CT\\", 0)
    assert extracted(archive(*folders, Member(b"", b"CT/IM1")), tmp_path) == [b""]
    assert extracted(archive(*folders), tmp_path) == []
    assert extracted(archive(), tmp_path) == []


def test_members_that_share_bytes_are_refused(tmp_path: Path) -> None:
    """A bomb without a second layer: 40 entries over one kernel, or each quoting the next one's header."""
    kernel = Member(bytes(1 << 20))
    shared = archive(kernel, *(replace(kernel, at=0) for _ in range(39)))
    assert refusal(shared, tmp_path).code is RefusalCode.UNSAFE_ARCHIVE

    inner = Member(bytes(1 << 20), b"inner")
    quoted = archive(inner).partition(b"PK\x01\x02")[0]
    packed = len(quoted) - 30 - len(inner.name)
    quoting = archive(Member(quoted, b"outer", 0), replace(inner, at=30 + len(b"outer"), packed_bytes=packed))
    found = refusal(quoting, tmp_path)
    assert found.code is RefusalCode.UNSAFE_ARCHIVE
    assert "overlap" in found.sentence
    assert [path for path in tmp_path.rglob("files/*") if path.is_file()] == []


@pytest.mark.parametrize("method", [0, 8])
@pytest.mark.parametrize(
    "lie", [{"unpacked_bytes": 10}, {"unpacked_bytes": 1 << 30}, {"crc": 1}, {"packed_bytes": 20}]
)
def test_lies_about_a_member_are_refused(tmp_path: Path, method: int, lie: dict[str, int]) -> None:
    noise = bytes(value * value % 251 for value in range(3000))
    member = replace(Member(noise, method=method), **lie)
    assert refusal(archive(member), tmp_path).code is RefusalCode.NOT_A_ZIP


def test_member_beyond_the_archive_is_refused(tmp_path: Path) -> None:
    for lie in ({"packed_bytes": 1 << 31}, {"at": 1 << 31}, {"at": 7}):
        data = archive(Member(b"fine"), replace(Member(b"image", method=0), **lie))
        assert refusal(data, tmp_path).code in {RefusalCode.NOT_A_ZIP, RefusalCode.UNSAFE_ARCHIVE}


@pytest.mark.parametrize(
    ("method", "word"),
    [(9, "Deflate64"), (98, "PPMd"), (12, "bzip2"), (14, "LZMA"), (93, "Zstandard"), (77, "unusual")],
)
def test_other_methods_are_named(tmp_path: Path, method: int, word: str) -> None:
    found = refusal(archive(Member(b"image", method=method)), tmp_path)
    assert found.code is RefusalCode.UNSAFE_ARCHIVE
    assert word in found.sentence


@pytest.mark.parametrize(("flags", "method"), [(1, 8), (1, 99), (0x41, 8), (0x2041, 8)])
def test_every_encryption_is_said(tmp_path: Path, flags: int, method: int) -> None:
    """Of old ZIP, AES of WinZip (method 99), strong encryption, and with masked headers."""
    found = refusal(archive(Member(b"image", method=method, flags=flags)), tmp_path)
    assert found.code is RefusalCode.UNSAFE_ARCHIVE
    assert "password" in found.sentence


def test_encryption_in_the_local_header_alone_is_seen(tmp_path: Path) -> None:
    data = bytearray(archive(Member(b"image")))
    data[6] |= 1
    assert "password" in refusal(bytes(data), tmp_path).sentence


@pytest.mark.parametrize("counted", [False, True])
@pytest.mark.parametrize("before", [b"MZ and a program", archive(Member(b"hidden"))], ids=["program", "zip"])
def test_data_before_the_archive_are_refused(tmp_path: Path, before: bytes, counted: bool) -> None:
    """As in a self-extracting archive: some packers count the offsets from the file's start, some do not."""
    found = refusal(archive(Member(b"image"), before=before, counted=counted), tmp_path)
    assert found.code is RefusalCode.NOT_A_ZIP
    assert "before" in found.sentence


@pytest.mark.parametrize(
    "data",
    [
        archive(Member(b"image"), end=(1, 1, 0)),
        archive(Member(b"image"), end=(1, 0, 0)),
        archive(Member(b"image"), Member(b"more"), end=(0, 0, 1)),
        archive(Member(b"image", disk=2)),
        b"PK\x07\x08" + archive(Member(b"image" * 50))[:60],
        b"the middle of an image" + archive(Member(b"image"), end=(3, 0, 0)),
    ],
    ids=["last disk", "of two", "entries elsewhere", "member elsewhere", "first part", "last part"],
)
def test_one_part_of_a_split_archive_is_named(tmp_path: Path, data: bytes) -> None:
    found = refusal(data, tmp_path)
    assert found.code is RefusalCode.NOT_A_ZIP
    assert "split" in found.sentence


def test_split_archive_of_one_part_is_read(tmp_path: Path) -> None:
    """Section 8.5.4: what began as a split archive and fitted keeps its marker."""
    for marker in (b"PK00", b"PK\x07\x08"):
        assert extracted(archive(Member(b"image"), before=marker, counted=True), tmp_path) == [b"image"]


def test_truncated_anywhere_is_incomplete(tmp_path: Path) -> None:
    data = archive(Member(b"image" * 300, method=0), Member(b"more"))
    for cut in range(4, len(data), 97):
        found = refusal(data[:cut], tmp_path)
        assert found.code is RefusalCode.NOT_A_ZIP
        assert "incomplete" in found.sentence


def test_directory_of_another_length_is_damaged(tmp_path: Path) -> None:
    data = bytearray(archive(Member(b"image"), Member(b"more")))
    end = data.index(b"PK\x05\x06")
    struct.pack_into("<2H", data, end + 8, 3, 3)
    assert refusal(bytes(data), tmp_path).code is RefusalCode.NOT_A_ZIP
    struct.pack_into("<2H", data, end + 8, 2, 2)
    struct.pack_into("<L", data, end + 12, 1 << 30)
    assert refusal(bytes(data), tmp_path).code is RefusalCode.TOO_LARGE


def test_programs_and_documents_in_a_nested_zip_are_no_third_level(tmp_path: Path) -> None:
    """A patient's CD often holds a viewer: its JARs are ZIPs, and not opened."""
    library = Member(archive(Member(b"class")), b"lib/inner.jar")
    jar = archive(Member(b"Manifest", b"META-INF/MANIFEST.MF"), library)
    letter = archive(Member(b"<Types/>", b"[Content_Types].xml"))
    viewer = archive(Member(jar, b"v.jar"), Member(letter, b"letter.docx"), Member(b"exe", b"viewer.exe"))
    data = archive(Member(viewer, b"viewer.zip"), Member(b"image"), Member(jar, b"other.jar"))
    assert extracted(data, tmp_path) == [b"exe", b"image"]


def test_a_zip_in_a_zip_in_a_zip_is_refused(tmp_path: Path) -> None:
    inner = archive(Member(archive(Member(b"image"))))
    assert refusal(archive(Member(inner)), tmp_path).code is RefusalCode.UNSAFE_ARCHIVE


def test_nested_archives_share_every_cap(tmp_path: Path) -> None:
    inner = archive(*(Member(bytes(1000)) for _ in range(5)))
    data = archive(Member(inner), Member(inner))
    assert refusal(data, tmp_path, replace(LIMITS, max_members=11)).code is RefusalCode.TOO_LARGE
    assert refusal(data, tmp_path, replace(LIMITS, max_inflated_bytes=10_000)).code is RefusalCode.TOO_LARGE
    assert refusal(data, tmp_path, replace(LIMITS, max_member_bytes=999)).code is RefusalCode.TOO_LARGE
    assert len(extracted(data, tmp_path, replace(LIMITS, max_members=12))) == 10


def test_ratio_counts_what_comes_out_over_all_members(tmp_path: Path) -> None:
    """Each member alone stays below the first 64 MiB that are not looked at."""
    found = refusal(archive(*(Member(bytes(24 << 20)) for _ in range(3))), tmp_path)
    assert found.code is RefusalCode.UNSAFE_ARCHIVE
    assert "200 times" in found.sentence
    assert sum(path.stat().st_size for path in tmp_path.rglob("files/*")) <= 66 << 20


def test_too_many_files_are_refused_before_any_is_written(tmp_path: Path) -> None:
    data = archive(*(Member(b"image") for _ in range(4)))
    assert "more than 3 files" in refusal(data, tmp_path, replace(LIMITS, max_members=3)).sentence
    assert list(tmp_path.rglob("files/*")) == []


@pytest.mark.parametrize("data", [archive(Member(b"image")), archive(Member(b""))], ids=["image", "empty"])
def test_time_is_capped(tmp_path: Path, data: bytes) -> None:
    found = refusal(data, tmp_path, replace(LIMITS, timeout_s=1e-9))
    assert found.code is RefusalCode.UNPACKING_TOO_SLOW
    assert found.remedy


@given(data=st.data())
@hypothesis_settings(
    max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_changes_of_bytes_are_read_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    """Of headers above all; whatever they say, nothing but a refusal comes of it."""
    nested = Member(archive(Member(b"in")), b"c")
    changed = bytearray(archive(Member(b"data" * 9), Member(b"more", b"b", 0), nested))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(changed) - 1))
        value = data.draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]) | st.integers(0, 255))
        changed[place] = value
    with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
        (Path(folder) / "upload").write_bytes(changed)
        try:
            files = extract_zip(Path(folder) / "upload", Path(folder) / "files", LIMITS)
        except UploadRefusal:
            return
        assert all(file.parent == Path(folder) / "files" for file in files)


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no file system in memory")
def test_a_directory_beyond_every_file_is_damage_on_a_file_system_in_memory_too() -> None:
    """There seeking succeeds and reading fails; on a disk it is the other way."""
    found = Path(__file__).parents[2] / "fuzz/corpus/archive/directory_beyond_every_file.zip"
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        assert refusal(found.read_bytes(), Path(folder)).code == RefusalCode.NOT_A_ZIP
