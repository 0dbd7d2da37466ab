"""Runs of studies: what becomes of refusals, of faults and of images that change meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom.uid import Comprehensive3DSRStorage

from dicom_node.settings import WorkerSettings
from inference.errors import RefusalCode, VolumeRefusal
from tests.dicom_node.conftest import Pacs, Site, eventually, instances_of
from tests.dicom_node.studies import send, study_uid, write_chest


def test_refusal_is_a_normal_end_with_code_sentence_and_remedy(
    site: Site, pacs: Pacs, tmp_path: Path
) -> None:
    site.analyser.faults = [VolumeRefusal(RefusalCode.NO_LUNGS, "No lungs were found.")]
    node = site.start(pacs.destination())
    send(write_chest(tmp_path, "head"), site.archive)
    eventually(lambda: [record.state for record in node.ledger.recent()] == ["refused"])
    [record] = node.ledger.recent()
    assert (record.code, record.sentence, record.failures) == ("no_lungs", "No lungs were found.", 0)
    assert record.remedy is not None
    assert record.remedy.startswith("Nothing needs to be done if this is not a chest CT")
    assert record.deliveries == ()
    with pytest.raises(KeyError):
        node.result(record.key)


def test_fault_is_visible_and_retried_and_holds_no_other_study_up(site: Site, tmp_path: Path) -> None:
    # The text of a foreign exception may quote a tag.
    site.analyser.faults = [RuntimeError("cannot decode Geheim^Niemand")]
    worker = WorkerSettings(concurrency=1, retry_first_s=4, retry_longest_s=8)
    node = site.start(worker=worker)
    send(write_chest(tmp_path, "unlucky"), site.archive)
    eventually(lambda: [record.state for record in node.ledger.recent()] == ["failing"])
    [failing] = node.ledger.recent()
    assert failing.error is not None
    assert failing.error.startswith("RuntimeError at stand_in.py:")
    assert failing.next_attempt_at is not None
    assert not failing.ended

    send(write_chest(tmp_path, "lucky"), site.archive)
    eventually(
        lambda: [record.state for record in node.ledger.recent(study_uid=study_uid("lucky"))] == ["reported"]
    )
    assert node.ledger.known(failing.key).state == "failing"
    assert node.wait(failing.key, 30).state == "reported"
    assert node.ledger.known(failing.key).failures == 1
    assert node.ledger.known(failing.key).error is None


def test_result_is_not_computed_again_when_a_later_step_fails(site: Site, tmp_path: Path) -> None:
    node = site.start()
    site.analyser.gate.clear()
    send(write_chest(tmp_path, "once"), site.archive)
    eventually(lambda: len(site.analyser.calls) == 1)
    site.archive.stop(timeout_s=0.2)
    site.analyser.gate.set()
    eventually(lambda: [record.state for record in node.ledger.recent()] == ["failing"])
    [record] = node.ledger.recent()
    assert record.error == "Orthanc is not running: connection refused"
    before = (tmp_path / "node" / "results" / record.key / "result.json").read_bytes()
    site.archive.start()
    assert node.wait(record.key, 30).state == "reported"
    assert (tmp_path / "node" / "results" / record.key / "result.json").read_bytes() == before
    assert site.analyser.calls == [record.key]
    assert len(instances_of(site.archive, Comprehensive3DSRStorage)) == 1


def test_next_study_is_fetched_while_one_is_computed(site: Site, tmp_path: Path) -> None:
    # As many are with the analyser as are in work; that its networks read one at a time is its own affair.
    node = site.start(worker=WorkerSettings(concurrency=2))
    site.analyser.gate.clear()
    for name in ("first", "second", "third"):
        send(write_chest(tmp_path, name), site.archive)
    eventually(lambda: len(node.ledger.recent()) == 3)
    eventually(lambda: len(site.analyser.calls) == 2)
    in_work = [node.ledger.known(key) for key in site.analyser.calls]
    assert all("fetch" in record.seconds for record in in_work)
    assert node.ledger.backlog() == {"analysing": 2, "queued": 1}
    site.analyser.gate.set()
    eventually(lambda: {record.state for record in node.ledger.recent()} == {"reported"})
    assert len(site.analyser.calls) == 3


def test_images_that_change_before_they_are_fetched_are_analysed_under_their_own_key(
    site: Site, tmp_path: Path
) -> None:
    node = site.start(worker=WorkerSettings(concurrency=1))
    site.analyser.gate.clear()
    send(write_chest(tmp_path, "busy"), site.archive)
    eventually(lambda: len(site.analyser.calls) == 1)
    send(write_chest(tmp_path, "changing"), site.archive)
    eventually(lambda: len(node.ledger.recent(study_uid=study_uid("changing"))) == 1)
    # The same instances with other pixels, before the worker comes to them.
    send(write_chest(tmp_path, "changing", seed=1), site.archive)
    site.analyser.gate.set()
    eventually(
        lambda: (
            [r.state for r in node.ledger.recent(study_uid=study_uid("changing"))] == ["reported", "refused"]
        )
    )
    newer, older = node.ledger.recent(study_uid=study_uid("changing"))
    assert older.code == "images_changed"
    assert newer.predecessor == older.key
