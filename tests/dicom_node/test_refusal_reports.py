"""What archive and PACS get of a refused study: nothing unless asked for, once, and it makes no work."""

from __future__ import annotations

from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import (
    Comprehensive3DSRStorage,
    CTImageStorage,
    EnhancedSRStorage,
    MRImageStorage,
    SecondaryCaptureImageStorage,
)

from dicom_node.node import Node
from dicom_node.settings import ReportSettings
from inference.errors import RefusalCode, VolumeRefusal
from tests.dicom_node.conftest import Pacs, Site, eventually, instances_of
from tests.dicom_node.studies import SLICES, as_modality, send, study_uid, write_chest

TOLD = ReportSettings(refusals=("sr", "sc"))
MISSING = VolumeRefusal(RefusalCode.MISSING_SLICES, "About 4 slice(s) are missing.")


def _ended(node: Node) -> list[str | None]:
    return [record.code for record in node.ledger.recent() if record.ended]


def test_refused_study_is_told_of_in_archive_and_pacs_and_makes_no_work(
    site: Site, pacs: Pacs, tmp_path: Path
) -> None:
    site.analyser.faults = [MISSING]
    keys_only = pacs.destination("keys-only", objects=("kos",))
    node = site.start(pacs.destination(sr_class="enhanced"), keys_only, report=TOLD)
    send(write_chest(tmp_path, "gap"), site.archive)
    eventually(lambda: _ended(node) == ["missing_slices"])
    eventually(lambda: [item.state for item in node.ledger.recent()[0].deliveries] == ["delivered"])
    (record,) = node.ledger.recent()
    assert [delivery.destination for delivery in record.deliveries] == ["pacs"]
    assert sorted(pacs.classes()) == sorted([EnhancedSRStorage, SecondaryCaptureImageStorage])
    assert len(instances_of(site.archive, Comprehensive3DSRStorage)) == 1
    assert len(instances_of(site.archive, SecondaryCaptureImageStorage)) == 1
    assert instances_of(site.archive, EnhancedSRStorage) == []
    report = dcmread(node.objects(record.key)[0])
    assert report.ConceptNameCodeSequence[0].CodeValue != "126000"
    assert str(report.PatientID) == "SECRET-4711"
    (study,) = report.CurrentRequestedProcedureEvidenceSequence
    (series,) = study.ReferencedSeriesSequence
    assert (series.SeriesInstanceUID, len(series.ReferencedSOPSequence)) == (record.series_uid, SLICES)
    assert record.sentence in report.to_json()
    # Its own objects, from the archive or sent back by the PACS, change nothing.
    send([item.path for item in node.ledger.objects.of(record.key)], site.archive)
    send(write_chest(tmp_path, "later"), site.archive)
    eventually(lambda: node.ledger.recent(study_uid=study_uid("later")))
    assert len(node.ledger.recent(study_uid=study_uid("gap"))) == 1


def test_study_without_a_series_is_told_of_where_no_code_is_excepted(
    site: Site, pacs: Pacs, tmp_path: Path
) -> None:
    report = ReportSettings(refusals=("sr",), refusals_except=())
    node = site.start(pacs.destination(), report=report)
    send([as_modality(path, "MR", MRImageStorage) for path in write_chest(tmp_path, "mr")], site.archive)
    eventually(lambda: _ended(node) == ["no_ct_series"])
    eventually(lambda: pacs.classes() == [Comprehensive3DSRStorage])
    assert site.analyser.calls == []
    (record,) = node.ledger.recent()
    assert node.ledger.objects.of(record.key)[0].study_uid == study_uid("mr")


def test_refusals_of_other_studies_than_of_the_chest_are_not_told_of_by_default(
    site: Site, pacs: Pacs, tmp_path: Path
) -> None:
    site.analyser.faults = [VolumeRefusal(RefusalCode.NO_LUNGS, "No lungs were found.")]
    node = site.start(pacs.destination(), report=TOLD)
    send(write_chest(tmp_path, "head"), site.archive)
    eventually(lambda: _ended(node) == ["no_lungs"])
    send([as_modality(path, "MR", MRImageStorage) for path in write_chest(tmp_path, "mr")], site.archive)
    eventually(lambda: sorted(map(str, _ended(node))) == ["no_ct_series", "no_lungs"])
    assert all(node.ledger.objects.of(record.key) == [] for record in node.ledger.recent())
    assert all(record.deliveries == () for record in node.ledger.recent())
    assert TOLD.refusal_kinds("images_rejected") == TOLD.refusal_kinds("images_changed") == ()
    assert ReportSettings().refusal_kinds("missing_slices") == ()


def test_archive_that_is_away_keeps_the_refusal_visible_and_it_is_told_of_once(
    site: Site, tmp_path: Path
) -> None:
    site.analyser.faults = [MISSING]
    node = site.start(report=TOLD)
    site.analyser.gate.clear()
    send(write_chest(tmp_path, "away"), site.archive)
    eventually(lambda: len(site.analyser.calls) == 1)
    site.archive.stop(timeout_s=0.2)
    site.analyser.gate.set()
    eventually(lambda: [record.state for record in node.ledger.recent()] == ["failing"])
    (record,) = node.ledger.recent()
    assert record.error == "Orthanc is not running: connection refused"
    site.archive.start()
    assert node.wait(record.key, 30).state == "refused"
    # The volume was not read again.
    assert len(site.analyser.calls) == 1
    assert len(instances_of(site.archive, Comprehensive3DSRStorage)) == 1
    assert len(instances_of(site.archive, CTImageStorage)) == SLICES


def test_report_of_the_completed_study_succeeds_the_refusal(site: Site, tmp_path: Path) -> None:
    site.analyser.faults = [MISSING]
    node = site.start(report=TOLD)
    paths = write_chest(tmp_path, "late")
    send(paths[1:], site.archive)
    eventually(lambda: _ended(node) == ["missing_slices"])
    send(paths[:1], site.archive)
    eventually(lambda: [item.state for item in node.ledger.recent()] == ["reported", "refused"])
    report, refusal = (dcmread(node.objects(item.key)[0]) for item in node.ledger.recent())
    assert _predecessor(report) == refusal.SOPInstanceUID


def test_a_study_that_is_refused_again_names_the_notice_before(
    site: Site, pacs: Pacs, tmp_path: Path
) -> None:
    site.analyser.faults = [MISSING, MISSING]
    node = site.start(pacs.destination(objects=("sr",), sr_class="enhanced"), report=TOLD)
    send(write_chest(tmp_path, "again"), site.archive)
    eventually(lambda: len(pacs.received) == 1)
    node.rerun(node.ledger.recent()[0].key)
    eventually(lambda: _ended(node) == ["missing_slices"] * 2)
    second, first = (dcmread(node.objects(item.key)[0]) for item in node.ledger.recent())
    assert _predecessor(second) == first.SOPInstanceUID
    assert "PredecessorDocumentsSequence" not in first
    # The PACS has both in its own class.
    eventually(lambda: len(pacs.received) == 2)
    (_, earlier, _), (_, _, later) = pacs.received
    assert earlier.encode() in later


def _predecessor(report: Dataset) -> str:
    (study,) = report.PredecessorDocumentsSequence
    (reference,) = study.ReferencedSeriesSequence[0].ReferencedSOPSequence
    return str(reference.ReferencedSOPInstanceUID)
