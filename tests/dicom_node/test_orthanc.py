"""The client against a real Orthanc."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import dcmread

from dicom_node.errors import ArchiveMissing, ArchiveRefused, ArchiveUnavailable
from dicom_node.local_orthanc import LocalOrthanc
from dicom_node.orthanc import Orthanc
from dicom_node.orthanc_tags import dataset_from_tags
from dicom_node.settings import OrthancSettings
from inference.instance_header import InstanceHeader
from tests.dicom_node.studies import SLICES, send, study_uid, write_chest


@pytest.fixture
def client(archive: LocalOrthanc) -> Orthanc:
    return Orthanc(archive.settings())


def test_headers_from_tags_are_those_of_the_files(
    archive: LocalOrthanc, client: Orthanc, ct_data: Path
) -> None:
    """Single-frame and multi-frame: the choice of a series sees the same by REST as in the files."""
    files = [
        *sorted((ct_data / "ct" / "nlst-toshiba").rglob("*.dcm"))[:3],
        *sorted((ct_data / "ct" / "lung-dx-a0001-philips" / "kernel-b").glob("*.dcm"))[:3],
        *sorted((ct_data / "fixtures" / "enhanced-ct").rglob("*.dcm")),
    ]
    for path in files:
        client.store(path.read_bytes())
    by_uid = {}
    for study in client.studies():
        for series_id in study.series_ids:
            for dataset in client.headers(series_id).values():
                by_uid[dataset.SOPInstanceUID] = InstanceHeader.from_dataset(dataset)
    for path in files:
        header = InstanceHeader.from_dataset(dcmread(path, stop_before_pixels=True))
        # Orthanc tells it elsewhere; the choice does not ask for it.
        wanted = replace(header, transfer_syntax_uid="")
        assert by_uid[wanted.sop_instance_uid] == wanted, path.name


def test_checksum_and_file_are_those_of_the_stored_bytes(
    archive: LocalOrthanc, client: Orthanc, tmp_path: Path
) -> None:
    send(write_chest(tmp_path, "sum")[:1], archive)
    [study] = client.studies()
    [instance] = client.series(study.series_ids[0]).instance_ids
    target = tmp_path / "fetched.dcm"
    md5 = client.fetch_instance(instance, target)
    assert md5 == client.instance_md5(instance)
    assert md5 == hashlib.md5(target.read_bytes(), usedforsecurity=False).hexdigest()
    assert target.read_bytes() == client.instance_file(instance)
    assert study.study_uid == study_uid("sum")


def test_typed_errors(archive: LocalOrthanc, client: Orthanc) -> None:
    with pytest.raises(ArchiveMissing):
        client.study("no-such-study")
    with pytest.raises(ArchiveMissing):
        client.study_id("1.2.3")
    with pytest.raises(ArchiveRefused):
        client.store(b"not DICOM")
    archive.stop(timeout_s=0.2)
    with pytest.raises(ArchiveUnavailable):
        client.system()


def test_connection_that_orthanc_closed_is_opened_again(archive: LocalOrthanc, client: Orthanc) -> None:
    assert client.system()
    archive.stop(timeout_s=0.2)
    archive.start()
    assert client.system()["Version"]


def test_silent_server_is_unavailable_in_time(free_port: Callable[[], int]) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        settings = OrthancSettings(url=f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.3)
        with pytest.raises(ArchiveUnavailable, match="does not answer in time"):
            Orthanc(settings).system()


def test_threads_have_connections_of_their_own(
    archive: LocalOrthanc, client: Orthanc, tmp_path: Path
) -> None:
    send(write_chest(tmp_path, "threads"), archive)
    [study] = client.studies()
    instances = client.series(study.series_ids[0]).instance_ids
    sums: list[set[bytes]] = []

    def fetch() -> None:
        sums.append({client.instance_file(instance)[-1000:] for instance in instances})

    threads = [threading.Thread(target=fetch) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(sums) == 4
    assert all(found == sums[0] and len(found) == SLICES for found in sums)


def test_changes_come_in_pages_and_in_order(archive: LocalOrthanc, client: Orthanc, tmp_path: Path) -> None:
    assert client.last_change() == 0
    send(write_chest(tmp_path, "changes")[:2], archive)
    page = client.changes(0)
    assert page.done
    assert page.last == page.changes[-1].sequence == client.last_change()
    assert [change.sequence for change in page.changes] == sorted(change.sequence for change in page.changes)
    assert client.changes(page.last).changes == ()


def test_values_that_do_not_fit_their_vr_are_left_out() -> None:
    tags = {
        "0028,0010": {"Name": "Rows", "Type": "String", "Value": "many"},
        "0028,0011": {"Name": "Columns", "Type": "String", "Value": "512"},
        "0020,0032": {"Name": "ImagePositionPatient", "Type": "String", "Value": "1\\2\\x"},
        "0008,0008": {"Name": "ImageType", "Type": "String", "Value": "ORIGINAL\\PRIMARY"},
        "7fe0,0010": {"Name": "PixelData", "Type": "TooLong", "Value": None},
        "0009,0010": {"Name": "Private", "Type": "String", "Value": "x"},
    }
    dataset = dataset_from_tags(tags)
    assert "Rows" not in dataset
    assert dataset.Columns == 512
    assert "ImagePositionPatient" not in dataset
    assert list(dataset.ImageType) == ["ORIGINAL", "PRIMARY"]
    assert len(dataset) == 3


def test_file_that_breaks_off_is_no_file(tmp_path: Path) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()

        def answer() -> None:
            connection, _ = server.accept()
            connection.recv(1000)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        client = Orthanc(OrthancSettings(url=f"http://127.0.0.1:{server.getsockname()[1]}", timeout_s=5))
        with pytest.raises(ArchiveUnavailable, match="broke off"):
            client.fetch_instance("x", tmp_path / "x.dcm")
        thread.join()
