"""C-STORE to a real SCP: what arrives, in which transfer syntax, and what is said about what does not."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.filereader import read_file_meta_info
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    MRImageStorage,
    RLELossless,
)
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.events import Event

from dicom_node.cstore import Peer, send_objects, verify
from dicom_node.errors import AssociationLost, AssociationRejected, PeerUnreachable
from dicom_node.local_orthanc import LocalOrthanc
from tests.dicom_node.conftest import Pacs, next_free_port
from tests.dicom_node.studies import as_modality, write_chest


def _peer(pacs: Pacs, **changes: object) -> Peer:
    return Peer(**{"host": "127.0.0.1", "port": pacs.port, "aet": pacs.aet, "timeout_s": 5, **changes})  # type: ignore[arg-type]


def test_files_arrive_in_their_order_and_nothing_is_written_beside_them(
    pacs: Pacs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "absent"))
    steps: list[tuple[int, int]] = []
    sent = send_objects(
        _peer(pacs),
        write_chest(tmp_path, "kinds")[:3],
        calling_aet="TEST",
        progress=lambda done, total: steps.append((done, total)),
    )
    assert [item.stored for item in sent] == [True, True, True]
    assert [item.sop_class_uid for item in sent] == [CTImageStorage] * 3
    assert [uid for _, uid, _ in pacs.received] == [item.sop_instance_uid for item in sent]
    assert steps == [(1, 3), (2, 3), (3, 3)]


def test_every_transfer_syntax_arrives_as_it_is(pacs: Pacs, ct_data: Path) -> None:
    wanted = {ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless}
    files = {}
    for path in sorted((ct_data / "fixtures" / "transfer-syntaxes").rglob("*.dcm")):
        syntax = dcmread(path, force=True, stop_before_pixels=True).file_meta.get("TransferSyntaxUID")
        if syntax in wanted:
            files[syntax] = path
    assert files.keys() == wanted
    sent = send_objects(_peer(pacs), files.values(), calling_aet="TEST")
    assert all(item.stored for item in sent)
    for path, (_, _, received) in zip(files.values(), pacs.received, strict=True):
        assert path.read_bytes().endswith(received)
        assert (
            len(received)
            == path.stat().st_size - 144 - read_file_meta_info(path).FileMetaInformationGroupLength
        )


def test_file_that_is_no_dicom_does_not_keep_the_others(pacs: Pacs, tmp_path: Path) -> None:
    junk = tmp_path / "junk"
    junk.write_bytes(b"junk")
    bad, good = send_objects(_peer(pacs), [junk, write_chest(tmp_path, "good")[0]], calling_aet="TEST")
    assert (bad.stored, bad.error) == (False, "not a DICOM file with file meta information")
    assert good.stored


def test_transfer_syntax_that_the_peer_does_not_take_is_named(
    free_port: Callable[[], int], ct_data: Path
) -> None:
    entity = AE("OLD")
    entity.add_supported_context(CTImageStorage, ExplicitVRLittleEndian)
    port = free_port()
    server = entity.start_server(("127.0.0.1", port), block=False)
    try:
        path = next((ct_data / "ct" / "nlst-toshiba").rglob("*.dcm"))
        peer = Peer("127.0.0.1", port, "OLD", 5)
        with pytest.raises(AssociationRejected):
            send_objects(peer, [path], calling_aet="TEST")
    finally:
        server.shutdown()


def test_a_class_that_is_not_accepted_is_named_and_keeps_no_other_back(tmp_path: Path) -> None:
    entity = AE("PICKY")
    entity.add_supported_context(MRImageStorage, ExplicitVRLittleEndian)
    port = next_free_port()
    server = entity.start_server(
        ("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, lambda _: 0x0000)]
    )
    files = write_chest(tmp_path, "both", slices=2)
    as_modality(files[1], "MR", MRImageStorage)
    try:
        first, second = send_objects(Peer("127.0.0.1", port, "PICKY", 5), files, calling_aet="TEST")
    finally:
        server.shutdown()
    assert (first.status, second.status) == (None, 0)
    assert first.error == "the peer accepts no CT Image Storage in Explicit VR Little Endian"


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(PeerUnreachable, match=r"NOBODY at 127\.0\.0\.1:\d+ cannot be reached"):
        send_objects(
            Peer("127.0.0.1", next_free_port(), "NOBODY", 2),
            write_chest(tmp_path, "x")[:1],
            calling_aet="TEST",
        )


def test_peer_that_hangs_up_is_an_error(pacs: Pacs, tmp_path: Path) -> None:
    paths = write_chest(tmp_path, "lost")[:5]

    def hang_up(event: Event) -> int:
        event.assoc.abort()
        return 0

    pacs.stop()
    entity = AE("PACS")
    entity.add_supported_context(CTImageStorage, ExplicitVRLittleEndian)
    server = entity.start_server(
        ("127.0.0.1", pacs.port), block=False, evt_handlers=[(evt.EVT_C_STORE, hang_up)]
    )
    try:
        with pytest.raises(AssociationLost, match="broke off after 0 of 5 objects"):
            send_objects(_peer(pacs, timeout_s=1), paths, calling_aet="TEST")
    finally:
        server.shutdown()


def test_peer_that_accepts_and_never_answers_is_given_up(tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        peer = Peer("127.0.0.1", silent.getsockname()[1], "SILENT", 1)
        with pytest.raises(AssociationRejected, match="did not answer the association request"):
            send_objects(peer, write_chest(tmp_path, "silent")[:1], calling_aet="TEST")


def test_peer_that_takes_nothing_of_it_is_said_to(pacs: Pacs, tmp_path: Path) -> None:
    pacs.stop()
    entity = AE("PACS")
    entity.add_supported_context(MRImageStorage)
    server = entity.start_server(("127.0.0.1", pacs.port), block=False)
    try:
        with pytest.raises(AssociationRejected, match="accepts none of the SOP classes"):
            send_objects(_peer(pacs), write_chest(tmp_path, "mr only")[:1], calling_aet="TEST")
    finally:
        server.shutdown()


def test_answer_is_never_lost_to_the_reactor(
    pacs: Pacs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pynetdicom's reactor thread may run on while it is taken for paused; it must not take the answers."""

    class NeverPauses(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            time.sleep(0.001)
            return True

    initialise = Association.__init__

    def with_restless_reactor(self: Association, *arguments: object, **named: object) -> None:
        initialise(self, *arguments, **named)
        self._reactor_checkpoint = NeverPauses()

    monkeypatch.setattr(Association, "__init__", with_restless_reactor)
    paths = write_chest(tmp_path, "restless", slices=100)
    sent = send_objects(_peer(pacs, timeout_s=2), paths, calling_aet="TEST")
    assert sum(item.stored for item in sent) == 100


def test_nagle_is_off(pacs: Pacs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options: list[int] = []
    send = Association.send_c_store

    def looking(self: Association, *arguments: object, **named: object) -> object:
        connection = self.dul.socket.socket
        options.append(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        return send(self, *arguments, **named)

    monkeypatch.setattr(Association, "send_c_store", looking)
    send_objects(_peer(pacs), write_chest(tmp_path, "nagle")[:1], calling_aet="TEST")
    assert options == [1]


def test_echo(archive: LocalOrthanc) -> None:
    verify(Peer("127.0.0.1", archive.dicom_port, archive.aet, 5), calling_aet="TEST")
    with pytest.raises(AssociationRejected):
        verify(Peer("127.0.0.1", archive.dicom_port, "OTHER", 5), calling_aet="TEST")


@pytest.mark.parametrize(
    ("status", "stored"),
    [(0xB000, True), (0xB123, True), (0x0107, True), (0x0111, True), (0xA700, False), (0xC000, False)],
)
def test_a_peer_that_has_the_object_says_so_in_several_ways(
    status: int, stored: bool, pacs: Pacs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pacs, "status", status)
    (sent,) = send_objects(_peer(pacs), write_chest(tmp_path, "one", slices=1), calling_aet="TEST")
    assert (sent.status, sent.stored) == (status, stored)
    assert (sent.error is None) == stored
