"""What a destination gets: the objects that it wants as it wants them, and originals as they came."""

from __future__ import annotations

from pathlib import Path

from pydicom import dcmread
from pydicom.filereader import read_file_meta_info
from pydicom.uid import (
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    CTImageStorage,
    JPEGLSLossless,
    KeyObjectSelectionDocumentStorage,
    SecondaryCaptureImageStorage,
)

from dicom_node.ledger_records import DeliveryRecord
from dicom_node.node import Node
from tests.dicom_node.conftest import Pacs, Site, eventually, instances_of
from tests.dicom_node.studies import send, write_chest


def _deliveries(node: Node) -> dict[str, DeliveryRecord]:
    records = node.ledger.recent()
    return {delivery.destination: delivery for record in records for delivery in record.deliveries}


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
        assert node.ledger.objects.key_of(other_uid) == record.key
        assert len(node.objects(record.key)) == 3
    finally:
        other.stop()


def _data_set(path: Path) -> bytes:
    """The data set of a DICOM file: what follows the file meta information, untouched."""
    preamble, group_length = 132, 12
    return path.read_bytes()[
        preamble + group_length + read_file_meta_info(path).FileMetaInformationGroupLength :
    ]
