"""An archive that loses files, changes under our hands or is seen half-way: nothing is lost, all is said."""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Iterable
from pathlib import Path

import pytest
from pydicom.uid import Comprehensive3DSRStorage, CTImageStorage, MRImageStorage
from sqlalchemy.exc import OperationalError

from dicom_node.examination import Examiner
from dicom_node.local_orthanc import LocalOrthanc
from dicom_node.node import Node
from dicom_node.orthanc import Orthanc
from dicom_node.orthanc_connection import OrthancConnection
from dicom_node.steps import StudySteps
from dicom_node.uploads import Upload
from dicom_node.workflow import StudyWorkflows
from inference.errors import RefusalCode, VolumeRefusal
from tests.dicom_node.conftest import Pacs, Site, eventually, instances_of
from tests.dicom_node.studies import SLICES, as_modality, send, study_uid, write_chest

LOCKED = OperationalError("UPDATE work ...", {}, Exception("database is locked"))


def _states(node: Node, name: str) -> list[str]:
    return [record.state for record in node.ledger.recent(study_uid=study_uid(name))]


def _stored_as(archive: LocalOrthanc, data: bytes) -> Path:
    """The file of Orthanc's storage that holds these bytes."""
    files = (file for file in (archive.folder / "storage").rglob("*") if file.is_file())
    return next(file for file in files if file.stat().st_size == len(data) and file.read_bytes() == data)


def _restart(archive: LocalOrthanc) -> None:
    """So that Orthanc reads its storage again, instead of its memory."""
    archive.stop(timeout_s=0.2)
    archive.start()


def _upload(node: Node, paths: Iterable[Path]) -> Upload:
    folder = node.folder.uploads / uuid.uuid4().hex
    folder.mkdir()
    return Upload(folder, "dicom", tuple(Path(shutil.copy(path, folder)) for path in paths), "")


def _store(archive: LocalOrthanc, paths: Iterable[Path]) -> None:
    """By REST, which keeps the files' own bytes; C-STORE makes files of its own."""
    client = Orthanc(archive.settings())
    for path in paths:
        client.store(path.read_bytes())


def test_file_that_the_archive_damaged_is_one_failing_study_until_it_is_restored(
    site: Site, tmp_path: Path
) -> None:
    send(write_chest(tmp_path, "rot"), site.archive)
    client = Orthanc(site.archive.settings())
    instance = instances_of(site.archive, CTImageStorage)[5]
    good = client.instance_file(instance)
    file = _stored_as(site.archive, good)
    file.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    _restart(site.archive)
    node = site.start()
    eventually(lambda: [record.failures for record in node.ledger.recent()] >= [2])
    [record] = node.ledger.recent()
    assert record.error == f"Orthanc's file of instance {instance} is damaged: restore it"
    file.write_bytes(good)
    _restart(site.archive)
    eventually(lambda: _states(node, "rot") == ["reported"])


def test_study_whose_file_the_archive_lost_is_visible_and_holds_no_other_up(
    site: Site, tmp_path: Path
) -> None:
    send(write_chest(tmp_path, "hole"), site.archive)
    client = Orthanc(site.archive.settings())
    good = client.instance_file(instances_of(site.archive, CTImageStorage)[5])
    file = _stored_as(site.archive, good)
    file.unlink()
    _restart(site.archive)
    node = site.start()
    eventually(lambda: _states(node, "hole") == ["failing"])
    [record] = node.ledger.recent()
    assert (record.error or "").startswith("Orthanc failed (500, GET /series/")
    assert node.health().archive_reachable
    send(write_chest(tmp_path, "whole"), site.archive)
    eventually(lambda: _states(node, "whole") == ["reported"])
    file.write_bytes(good)
    _restart(site.archive)
    eventually(lambda: _states(node, "hole") == ["reported"], 60)


def test_study_that_is_removed_before_it_could_be_examined_ends_visibly(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dicom_node.intake._FAULT_PAUSE_S", (0.5, 0.5))

    def failing(self: Examiner, study: object) -> None:
        raise RuntimeError("Geheim^Niemand")

    monkeypatch.setattr(Examiner, "_examine", failing)
    node = site.start()
    send(write_chest(tmp_path, "removed"), site.archive)
    eventually(lambda: _states(node, "removed") == ["failing"])
    client = Orthanc(site.archive.settings())
    OrthancConnection(site.archive.settings()).body(
        "DELETE", f"/studies/{client.study_id(study_uid('removed'))}"
    )
    eventually(lambda: _states(node, "removed") == ["refused"])
    assert node.ledger.recent()[0].code == "images_changed"


def test_intake_outlives_a_ledger_that_cannot_be_written(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dicom_node.intake._FAULT_PAUSE_S", (0.5, 0.5))
    examine, record_fault = Examiner._examine, Examiner.record_fault
    faults = [LOCKED, LOCKED]

    def failing_examination(self: Examiner, study: object) -> None:
        if faults:
            raise faults.pop()
        examine(self, study)  # type: ignore[arg-type]

    def failing_record(self: Examiner, *arguments: object) -> None:
        if faults:
            raise faults.pop()
        record_fault(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Examiner, "_examine", failing_examination)
    monkeypatch.setattr(Examiner, "record_fault", failing_record)
    node = site.start()
    send(write_chest(tmp_path, "locked"), site.archive)
    eventually(lambda: _states(node, "locked") == ["reported"])
    assert faults == []


def test_hint_about_a_growing_study_makes_no_report_of_a_part_and_loses_nothing(
    site: Site, tmp_path: Path
) -> None:
    node = site.start()
    eventually(lambda: node.health().archive_reachable)
    paths = write_chest(tmp_path, "early", slices=SLICES + 12)
    send(paths[:SLICES], site.archive)
    orthanc_id = Orthanc(site.archive.settings()).study_id(study_uid("early"))
    for _ in range(1000):
        node.hint(orthanc_id)
    time.sleep(0.3)
    send(paths[SLICES:], site.archive)
    eventually(lambda: _states(node, "early") == ["reported"])
    [record] = node.ledger.recent()
    assert len(node.ledger.plan(record.key).instances) == SLICES + 12


def test_images_that_come_back_after_they_were_abandoned_are_analysed(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Removed while in work, then a part of them, then all again."""
    client = Orthanc(site.archive.settings())
    paths = write_chest(tmp_path, "back", slices=SLICES + 6)
    removals = [True]
    fetch = StudySteps.fetch

    def emptied(self: StudySteps, key: str) -> None:
        if removals:
            removals.pop()
            OrthancConnection(site.archive.settings()).body(
                "DELETE", f"/studies/{client.study_id(study_uid('back'))}"
            )
        fetch(self, key)

    monkeypatch.setattr(StudySteps, "fetch", emptied)
    node = site.start()
    send(paths, site.archive)
    eventually(lambda: _states(node, "back") == ["refused"])
    send(paths[:SLICES], site.archive)
    eventually(lambda: _states(node, "back") == ["reported", "refused"])
    send(paths[SLICES:], site.archive)
    eventually(lambda: _states(node, "back") == ["reported", "reported", "refused"])
    newest = node.ledger.recent()[0]
    assert len(node.result(newest.key).image_sop_instance_uids) == SLICES + 6
    assert newest.attempt == 1


def test_refused_study_is_forwarded_although_the_node_died_right_after_refusing(
    site: Site, pacs: Pacs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dicom_node.intake._FAULT_PAUSE_S", (0.5, 0.5))
    forward = StudyWorkflows.enqueue_originals
    faults = [LOCKED]

    def dying(self: StudyWorkflows, key: str) -> None:
        if faults:
            raise faults.pop()
        forward(self, key)

    monkeypatch.setattr(StudyWorkflows, "enqueue_originals", dying)
    node = site.start(pacs.destination(forward_originals=True))
    send([as_modality(path, "MR", MRImageStorage) for path in write_chest(tmp_path, "mr")], site.archive)
    eventually(lambda: pacs.classes() == [MRImageStorage] * SLICES)
    eventually(lambda: _states(node, "mr") == ["refused"])


def test_upload_that_failed_is_analysed_when_its_images_come_to_the_archive(
    site: Site, pacs: Pacs, tmp_path: Path
) -> None:
    site.analyser.faults = [RuntimeError("once")] * 3
    node = site.start(pacs.destination())
    paths = write_chest(tmp_path, "second")
    key = node.submit_upload(_upload(node, paths), "answer")
    assert node.wait(key, 30).state == "failing"
    _store(site.archive, paths)
    eventually(lambda: node.ledger.known(key).state == "reported")
    eventually(lambda: pacs.classes().count(Comprehensive3DSRStorage) == 1)


def test_upload_that_was_refused_is_forwarded_when_its_images_come_to_the_archive(
    site: Site, pacs: Pacs, tmp_path: Path
) -> None:
    site.analyser.faults = [VolumeRefusal(RefusalCode.NO_LUNGS, "No lungs were found.")]
    node = site.start(pacs.destination(forward_originals=True))
    paths = write_chest(tmp_path, "head")
    key = node.submit_upload(_upload(node, paths), "answer")
    assert node.wait(key, 30).state == "refused"
    _store(site.archive, paths)
    eventually(lambda: pacs.classes() == [CTImageStorage] * SLICES)
    assert _states(node, "head") == ["refused"]


def test_upload_that_is_half_in_the_archive_makes_no_report_of_that_half(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write_chest(tmp_path, "half", slices=SLICES + 12)
    halves = [True]
    store = StudySteps.store_originals

    def halfway(self: StudySteps, key: str, folder: Path) -> None:
        if halves:
            halves.pop()
            send(paths[:SLICES], site.archive)
            time.sleep(2)  # the half is stable, and its event is followed
        store(self, key, folder)

    monkeypatch.setattr(StudySteps, "store_originals", halfway)
    node = site.start()
    key = node.submit_upload(_upload(node, paths), "archive")
    assert node.wait(key, 30).state == "reported"
    client = Orthanc(site.archive.settings())
    orthanc_id = client.study_id(study_uid("half"))
    eventually(lambda: node.ledger.memory.seen_at(orthanc_id) == client.study(orthanc_id).last_update)
    assert _states(node, "half") == ["reported"]


def test_image_that_is_just_being_replaced_is_forwarded_with_the_others(
    site: Site, pacs: Pacs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Orthanc overwrites by removing first: for a moment the instance is not there."""
    missing = [True]
    fetch = Orthanc.fetch_instance

    def between(self: Orthanc, instance_id: str, target: Path) -> str:
        if missing and "-pacs" in str(target):
            missing.pop()
            instance_id = "00000000-00000000-00000000-00000000-00000000"
        return fetch(self, instance_id, target)

    monkeypatch.setattr(Orthanc, "fetch_instance", between)
    node = site.start(pacs.destination(forward_originals=True))
    send(write_chest(tmp_path, "moved"), site.archive)
    eventually(lambda: pacs.classes().count(CTImageStorage) == SLICES)
    eventually(lambda: [item.state for item in node.ledger.recent()[0].deliveries] == ["delivered"])
