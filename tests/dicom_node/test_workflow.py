"""From the last image to the report in archive and PACS, and what happens when something is in the way."""

from __future__ import annotations

import json
import logging
import threading
import warnings
from io import BytesIO, StringIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import Comprehensive3DSRStorage, SecondaryCaptureImageStorage

from dicom_node.log import configure
from dicom_node.orthanc import Orthanc
from dicom_node.settings import ReportSettings, WorkerSettings
from inference.errors import RefusalCode, VolumeRefusal
from inference.overview import CoronalOverview
from inference.saliency_file import saliency_bytes
from tests.dicom_node.conftest import Pacs, Site, eventually, instances_of
from tests.dicom_node.studies import send, study_uid, write_chest


def test_sent_study_comes_back_as_report_in_archive_and_pacs(site: Site, pacs: Pacs, tmp_path: Path) -> None:
    node = site.start(pacs.destination())
    send(write_chest(tmp_path, "way"), site.archive)
    eventually(lambda: pacs.classes().count(Comprehensive3DSRStorage) == 1)
    eventually(lambda: node.ledger.recent()[0].deliveries[0].state == "delivered")

    record = node.ledger.recent()[0]
    assert (record.study_uid, record.state, record.failures) == (study_uid("way"), "reported", 0)
    assert {"queue", "fetch", "read", "fusion", "report", "store", "deliver:pacs"} <= record.seconds.keys()
    # The report first, then its key images; no original.
    assert pacs.classes() == [Comprehensive3DSRStorage, *[SecondaryCaptureImageStorage] * 2]
    [report] = instances_of(site.archive, Comprehensive3DSRStorage)
    stored = dcmread(BytesIO(Orthanc(site.archive.settings()).instance_file(report)))
    written = dcmread(node.objects(record.key)[0])
    assert stored == written
    assert node.result(record.key).study_uid == study_uid("way")
    assert not list((tmp_path / "node" / "work").iterdir())


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


def test_rerun_makes_a_new_report_that_names_its_predecessor(site: Site, tmp_path: Path) -> None:
    kept = saliency_bytes({}, np.eye(4), CoronalOverview(np.zeros((24, 64), np.int16), (10.0, 5.0)))
    site.analyser.saliency = kept
    node = site.start(report=ReportSettings(language="ru"))
    send(write_chest(tmp_path, "again"), site.archive)
    eventually(lambda: [record.state for record in node.ledger.recent()] == ["reported"])
    [first] = node.ledger.recent()
    key = node.rerun(first.key)
    assert key != first.key
    second = node.wait(key, 30)
    assert (second.state, second.attempt, second.predecessor) == ("reported", 1, first.key)
    reports = [dcmread(node.objects(item)[0]) for item in (first.key, key)]
    [predecessor] = reports[1].PredecessorDocumentsSequence
    [series] = predecessor.ReferencedSeriesSequence
    assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == reports[0].SOPInstanceUID
    assert len(instances_of(site.archive, Comprehensive3DSRStorage)) == 2
    for item, report in zip((first.key, key), reports, strict=True):
        assert (tmp_path / "node" / "results" / item / "saliency.npz").read_bytes() == kept
        assert report.ContentSequence[0].ConceptCodeSequence[0].CodeValue == "ru"
        assert report.SeriesDescription.startswith("AI отчёт")


def test_log_lines_and_stored_steps_carry_the_key_and_nothing_of_the_patient(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = StringIO()
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    monkeypatch.setattr(logging.getLogger(), "level", logging.DEBUG)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    configure("DEBUG", stream)
    node = site.start()
    send(write_chest(tmp_path, "discreet"), site.archive)
    eventually(lambda: [record.state for record in node.ledger.recent()] == ["reported"])
    [record] = node.ledger.recent()
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    about = [line["message"] for line in lines if line.get("key") == record.key]
    told = ["study queued", "fetched", "analysed", "report made", "stored in the archive", "reported"]
    assert [text for text in about if text in told] == told
    databases = b"".join(file.read_bytes() for file in (tmp_path / "node").glob("*.sqlite*"))
    for word in ("Geheim", "Niemand", "SECRET-4711"):
        assert word not in stream.getvalue()
        assert word.encode() not in databases
