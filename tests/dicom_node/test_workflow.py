"""From the last image to the report in archive and PACS, and what is left behind on the way."""

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
from dicom_node.settings import ReportSettings
from inference.overview import CoronalOverview
from inference.saliency_file import saliency_bytes
from tests.dicom_node.conftest import Pacs, Site, eventually, instances_of
from tests.dicom_node.studies import send, study_uid, write_chest


def test_sent_study_comes_back_as_report_in_archive_and_pacs(site: Site, pacs: Pacs, tmp_path: Path) -> None:
    node = site.start(pacs.destination())
    send(write_chest(tmp_path, "way"), site.archive)
    eventually(lambda: pacs.classes().count(Comprehensive3DSRStorage) == 1)
    eventually(lambda: [item.state for item in node.ledger.recent()[0].deliveries] == ["delivered"])

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
