"""Rejection notes that come back: of results they are feedback, of images they stop the work."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest
from highdicom.ko import KeyObjectSelection, KeyObjectSelectionDocument
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import generate_uid

from dicom_node.ledger_records import DeliveryState, WorkRecord
from dicom_node.node import Node
from dicom_node.rejection_notes import rejection_notes
from dicom_node.settings import WebSettings
from tests.dicom_node.conftest import Pacs, Site, eventually, next_free_port
from tests.dicom_node.http_server import served
from tests.dicom_node.studies import send, study_uid, write_chest

QUALITY, SAFETY, WORKLIST = "113001", "113037", "113038"


def rejection(paths: Sequence[Path], code: str, target: Path, scheme: str = "DCM") -> Path:
    """A rejection note of these objects."""
    objects = [dcmread(path) for path in paths]
    note = KeyObjectSelectionDocument(
        evidence=objects,
        content=KeyObjectSelection(Code(code, scheme, "Rejected: Geheim"), referenced_objects=objects),
        series_instance_uid=generate_uid(),
        series_number=99,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="PACS",
        institution_name=None,
        transfer_syntax_uid="1.2.840.10008.1.2.1",
    )
    note.save_as(target, enforce_file_format=True)
    return target


def _states(node: Node, name: str) -> list[str]:
    return [record.code or record.state for record in node.ledger.recent(study_uid=study_uid(name))]


def _delivery(record: WorkRecord) -> DeliveryState | None:
    """None while it is not entered."""
    return next((item.state for item in record.deliveries), None)


def test_rejected_report_is_feedback_and_makes_no_work(site: Site, tmp_path: Path) -> None:
    node = site.start()
    send(write_chest(tmp_path, "one"), site.archive)
    eventually(lambda: _states(node, "one") == ["reported"])
    key = node.ledger.recent()[0].key
    report = node.ledger.objects.of(key)[0].path
    send([rejection([report], QUALITY, tmp_path / "note.dcm")], site.archive)
    eventually(lambda: len(node.ledger.feedback.of(study_uid("one"))) == 1)
    (feedback,) = node.ledger.feedback.of(study_uid("one"))
    assert (feedback.about, feedback.key, feedback.objects, feedback.code) == ("result", key, 1, QUALITY)
    assert feedback.sentence == "Rejected for quality reasons"
    # Examined once more, for another reason, it is still one note.
    send([rejection([report], SAFETY, tmp_path / "again.dcm")], site.archive)
    eventually(lambda: len(node.ledger.feedback.of(study_uid("one"))) == 2)
    assert _states(node, "one") == ["reported"]
    with served(node, next_free_port()) as url:
        page = httpx.get(f"{url}/work/{key}").text
    assert "Results:</b> Rejected for quality reasons" in page
    assert "Results:</b> Rejected for patient safety reasons" in page
    assert "Geheim" not in page


def test_rejected_images_stop_the_work_on_them(site: Site, pacs: Pacs, tmp_path: Path) -> None:
    node = site.start(pacs.destination(forward_originals=True))
    site.analyser.gate.clear()
    paths = write_chest(tmp_path, "wrong-patient")
    send(paths, site.archive)
    eventually(lambda: _states(node, "wrong-patient") == ["analysing"])
    send([rejection(paths, WORKLIST, tmp_path / "note.dcm")], site.archive)
    eventually(lambda: node.ledger.feedback.of(study_uid("wrong-patient")))
    site.analyser.gate.set()
    eventually(lambda: _states(node, "wrong-patient") == ["images_rejected"])
    (record,) = node.ledger.recent()
    assert record.sentence is not None
    assert record.sentence.startswith("24 image(s) of the study were rejected")
    assert node.ledger.objects.of(record.key) == []
    assert pacs.received == []


def test_rejected_before_it_was_looked_at_a_study_is_refused(site: Site, tmp_path: Path) -> None:
    paths = write_chest(tmp_path, "early")
    send([*paths, rejection(paths, SAFETY, tmp_path / "note.dcm")], site.archive)
    node = site.start()
    eventually(lambda: _states(node, "early") == ["images_rejected"])
    node = site.restart(site.settings(web=WebSettings(language="ru")))
    with served(node, next_free_port()) as url:
        page = httpx.get(f"{url}/work/{node.ledger.recent()[0].key}").text
    assert "Не проанализировано: Изображения отвергнуты" in page
    assert "отправьте исправленные изображения" in page
    assert "Изображения:</b> Отвергнуто ради безопасности пациента" in page


def test_what_is_left_of_a_study_is_read(site: Site, tmp_path: Path) -> None:
    node = site.start()
    paths = write_chest(tmp_path, "part")
    send([*paths, rejection(paths[-2:], SAFETY, tmp_path / "note.dcm")], site.archive)
    eventually(lambda: _states(node, "part") == ["reported"])
    assert len(node.ledger.plan(node.ledger.recent()[0].key).instances) == len(paths) - 2


def test_a_result_of_rejected_images_is_not_delivered_any_more(site: Site, tmp_path: Path) -> None:
    away = Pacs(aet="AWAY")
    node = site.start(away.destination("away"))
    paths = write_chest(tmp_path, "late")
    send(paths, site.archive)
    eventually(lambda: _states(node, "late") == ["reported"])
    eventually(lambda: _delivery(node.ledger.recent()[0]) == "failing")
    send([rejection(paths, SAFETY, tmp_path / "note.dcm")], site.archive)
    eventually(lambda: _delivery(node.ledger.recent()[0]) == "stopped")
    assert node.health().failing_deliveries == 0
    with served(node, next_free_port()) as url:
        page = httpx.get(f"{url}/work/{node.ledger.recent()[0].key}").text
    assert "Not delivered, and not to be: the images were rejected" in page
    assert "send-away" not in page
    assert _states(node, "late") == ["reported"]


@pytest.mark.parametrize(("code", "scheme"), [("113000", "DCM"), (SAFETY, "99OTHER"), ("113039", "DCM")])
def test_other_key_object_selections_reject_nothing(tmp_path: Path, code: str, scheme: str) -> None:
    paths = write_chest(tmp_path, "key-images")
    assert rejection_notes([dcmread(rejection(paths, code, tmp_path / "note.dcm", scheme))]) == []


def test_a_note_without_content_rejects_nothing() -> None:
    note = Dataset()
    note.SOPClassUID, note.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.88.59", "1.2.3"
    assert rejection_notes([note]) == []
    title = Dataset()
    title.CodeValue, title.CodingSchemeDesignator = SAFETY, "DCM"
    note.ConceptNameCodeSequence = [title]
    note.CurrentRequestedProcedureEvidenceSequence = []
    (found,) = rejection_notes([note])
    assert found.rejected == frozenset()
