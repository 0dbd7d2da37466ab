"""Runs of deliveries: each destination for itself, again and again until it has everything."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom.uid import Comprehensive3DSRStorage, MRImageStorage, SecondaryCaptureImageStorage

from dicom_node.ledger_records import DeliveryRecord
from dicom_node.node import Node
from dicom_node.settings import ReportSettings
from tests.dicom_node.conftest import Pacs, Site, eventually
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


def test_character_that_does_not_fit_stands_in_the_deliverys_state_and_nothing_is_sent(
    site: Site, pacs: Pacs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = site.start(
        pacs.destination(objects=("sr",), character_set="ISO_IR 100"), report=ReportSettings(language="ru")
    )
    send(write_chest(tmp_path, "cyrillic"), site.archive)
    eventually(lambda: _deliveries(node).get("pacs") and _deliveries(node)["pacs"].state == "failing")
    delivery = _deliveries(node)["pacs"]
    error = delivery.error or ""
    assert error.startswith("text_not_fitting: ISO_IR 100 lacks a character of ")
    assert error.endswith(": set destinations.character_set of pacs")
    assert pacs.received == []
    # Nothing changes by waiting: it is tried again when the settings may be others, and when a person asks.
    assert (delivery.attempts, delivery.next_attempt_at) == (1, None)
    assert node.health().failing_deliveries == 1
    workflows = node.operations.workflows
    entered: list[str] = []
    with monkeypatch.context() as watched:
        watched.setattr(workflows.durable, "enqueue", lambda queue, *_, **__: entered.append(queue))
        workflows.resume()
        assert entered == []
        workflows.resume(given_up=True)
        assert entered == ["deliver-pacs"]
    node = site.start(pacs.destination(objects=("sr",)), report=ReportSettings(language="ru"))
    eventually(lambda: _deliveries(node)["pacs"].state == "delivered")
    assert pacs.classes() == [Comprehensive3DSRStorage]
