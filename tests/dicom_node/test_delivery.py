"""Deliveries: each destination for itself, until it has everything, and originals as they came."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.filereader import read_file_meta_info
from pydicom.uid import (
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    CTImageStorage,
    JPEGLSLossless,
    KeyObjectSelectionDocumentStorage,
    MRImageStorage,
    SecondaryCaptureImageStorage,
)

from dicom_node.delivery import pause_s
from dicom_node.ledger import DeliveryRecord
from dicom_node.node import Node
from dicom_node.settings import ReportSettings
from tests.dicom_node.conftest import Pacs, Site, eventually, instances_of
from tests.dicom_node.studies import SLICES, as_modality, send, write_chest


def _deliveries(node: Node) -> dict[str, DeliveryRecord]:
    records = node.ledger.recent()
    return {delivery.destination: delivery for record in records for delivery in record.deliveries}


def test_unreachable_destination_holds_no_other_up_and_is_served_when_it_comes_back(
    site: Site, pacs: Pacs, tmp_path: Path
) -> None:
    away = Pacs(aet="AWAY")
    node = site.start(away.destination("away"), pacs.destination())
    for name in ("one", "two"):
        send(write_chest(tmp_path, name), site.archive)
    eventually(lambda: pacs.classes().count(Comprehensive3DSRStorage) == 2)
    eventually(lambda: {record.state for record in node.ledger.recent()} == {"reported"})
    eventually(lambda: _deliveries(node)["away"].attempts >= 2)
    failing = _deliveries(node)["away"]
    assert failing.state == "failing"
    assert failing.error == f"AWAY at 127.0.0.1:{away.port} cannot be reached"
    assert failing.next_attempt_at is not None
    assert node.health().failing_deliveries >= 1
    away.start()
    try:
        eventually(lambda: away.classes().count(Comprehensive3DSRStorage) == 2)
        eventually(lambda: _deliveries(node)["away"].state == "delivered")
    finally:
        away.stop()
    assert sorted(away.received) == sorted(pacs.received)


def test_object_that_is_refused_is_sent_again_until_it_is_stored(
    site: Site, pacs: Pacs, tmp_path: Path
) -> None:
    pacs.refused_classes.add(SecondaryCaptureImageStorage)
    node = site.start(pacs.destination())
    send(write_chest(tmp_path, "picky"), site.archive)
    eventually(lambda: _deliveries(node).get("pacs") and _deliveries(node)["pacs"].state == "failing")
    error = "PACS did not store 2 of 3 objects; first: the peer refused it (status 0xA700)"
    assert _deliveries(node)["pacs"].error == error
    pacs.refused_classes.clear()
    eventually(lambda: _deliveries(node)["pacs"].state == "delivered")
    assert _deliveries(node)["pacs"].objects == 3
    # What was sent twice is the same twice.
    assert len({data for sop_class, _, data in pacs.received if sop_class == Comprehensive3DSRStorage}) == 1


def test_wrong_ae_title_is_named(site: Site, pacs: Pacs, tmp_path: Path) -> None:
    node = site.start(pacs.destination(aet="WRONG"))
    send(write_chest(tmp_path, "wrong"), site.archive)
    eventually(lambda: _deliveries(node).get("pacs") and _deliveries(node)["pacs"].state == "failing")
    error = _deliveries(node)["pacs"].error or ""
    assert error.startswith(f"WRONG at 127.0.0.1:{pacs.port} rejected the association")


def test_compressed_originals_are_forwarded_byte_for_byte_after_the_results(
    site: Site, pacs: Pacs, ct_data: Path
) -> None:
    paths = sorted((ct_data / "ct" / "nlst-toshiba").rglob("*.dcm"))[:30]
    sent = {}
    for path in paths:
        assert read_file_meta_info(path).TransferSyntaxUID == JPEGLSLossless
        sent[dcmread(path, stop_before_pixels=True).SOPInstanceUID] = _data_set(path)
    node = site.start(pacs.destination(forward_originals=True))
    send(paths, site.archive)
    eventually(lambda: _deliveries(node).get("pacs") and _deliveries(node)["pacs"].state == "delivered")
    assert pacs.classes()[:3] == [Comprehensive3DSRStorage, *[SecondaryCaptureImageStorage] * 2]
    received = {uid: data for sop_class, uid, data in pacs.received if sop_class == CTImageStorage}
    assert received == sent


def test_each_destination_gets_the_objects_that_it_wants(site: Site, pacs: Pacs, tmp_path: Path) -> None:
    archive = Pacs(aet="KEYS")
    archive.start()
    try:
        keys = archive.destination("keys", objects=("kos",))
        node = site.start(pacs.destination(objects=("sr",)), keys)
        send(write_chest(tmp_path, "kinds"), site.archive)
        eventually(lambda: {item.state for item in _deliveries(node).values()} == {"delivered"})
        assert pacs.classes() == [Comprehensive3DSRStorage]
        assert archive.classes() == [KeyObjectSelectionDocumentStorage]
        # The archive keeps what its own setting names.
        assert len(instances_of(site.archive, SecondaryCaptureImageStorage)) == 2
        assert instances_of(site.archive, KeyObjectSelectionDocumentStorage) == []
    finally:
        archive.stop()


def test_refused_study_is_forwarded_where_originals_are_wanted_and_nowhere_else(
    site: Site, pacs: Pacs, tmp_path: Path
) -> None:
    plain = Pacs(aet="PLAIN")
    plain.start()
    try:
        destinations = pacs.destination(forward_originals=True), plain.destination("plain")
        node = site.start(*destinations)
        send([as_modality(path, "MR", MRImageStorage) for path in write_chest(tmp_path, "mr")], site.archive)
        eventually(lambda: _deliveries(node).get("pacs") and _deliveries(node)["pacs"].state == "delivered")
        assert pacs.classes() == [MRImageStorage] * SLICES
        assert _deliveries(node).keys() == {"pacs"}
        assert plain.received == []
    finally:
        plain.stop()


def test_each_destination_gets_its_class_of_report_and_its_character_set(
    site: Site, pacs: Pacs, tmp_path: Path
) -> None:
    other = Pacs(aet="LATIN")
    other.start()
    try:
        latin = other.destination(
            "latin", objects=("sr",), sr_class="comprehensive", character_set="ISO_IR 100"
        )
        node = site.start(pacs.destination(objects=("sr",)), latin)
        send(write_chest(tmp_path, "classes"), site.archive)
        eventually(lambda: {item.state for item in _deliveries(node).values()} == {"delivered"})
        assert (pacs.classes(), other.classes()) == ([Comprehensive3DSRStorage], [ComprehensiveSRStorage])
        assert instances_of(site.archive, ComprehensiveSRStorage) == []
        (_, uid, data), (_, other_uid, other_data) = pacs.received[0], other.received[0]
        assert uid != other_uid
        assert (b"ISO_IR 192" in data, b"ISO_IR 100" in other_data) == (True, True)
        # The other one is known as ours before it can come back.
        (record,) = node.ledger.recent()
        assert node.ledger.key_of_object(other_uid) == record.key
        assert len(node.objects(record.key)) == 3
    finally:
        other.stop()


def test_character_that_does_not_fit_stands_in_the_deliverys_state_and_nothing_is_sent(
    site: Site, pacs: Pacs, tmp_path: Path
) -> None:
    node = site.start(
        pacs.destination(objects=("sr",), character_set="ISO_IR 100"), report=ReportSettings(language="ru")
    )
    send(write_chest(tmp_path, "cyrillic"), site.archive)
    eventually(lambda: _deliveries(node).get("pacs") and _deliveries(node)["pacs"].state == "failing")
    error = _deliveries(node)["pacs"].error or ""
    assert error.startswith("ISO_IR 100 lacks a character of ")
    assert error.endswith(": set destinations.character_set of pacs")
    assert pacs.received == []


@pytest.mark.parametrize(("failures", "pause"), [(1, 5), (2, 10), (3, 20), (9, 900), (1000, 900)])
def test_pause_grows_up_to_the_longest(failures: int, pause: float) -> None:
    assert pause_s(failures, 5, 900) == pause


def _data_set(path: Path) -> bytes:
    """The data set of a DICOM file: what follows the file meta information, untouched."""
    preamble, group_length = 132, 12
    return path.read_bytes()[
        preamble + group_length + read_file_meta_info(path).FileMetaInformationGroupLength :
    ]
