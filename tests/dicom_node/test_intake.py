"""Every study that stands in the archive is found, and only that makes work which ought to."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import Comprehensive3DSRStorage, CTImageStorage, MRImageStorage

from dicom_node.examination import Examiner
from dicom_node.intake import FEED
from dicom_node.local_orthanc import LocalOrthanc
from dicom_node.node import Node
from dicom_node.orthanc import Orthanc
from dicom_node.orthanc_connection import OrthancConnection
from dicom_node.settings import IntakeSettings
from tests.dicom_node.conftest import Pacs, Site, eventually, instances_of
from tests.dicom_node.studies import (
    SLICES,
    as_modality,
    other_series,
    send,
    study_uid,
    write_chest,
    write_scout,
)


def _states(node: Node, name: str) -> list[str]:
    return [record.state for record in node.ledger.recent(study_uid=study_uid(name))]


def _wait_until_stable(archive: LocalOrthanc, name: str) -> None:
    client = Orthanc(archive.settings())
    stable = [("StableStudy", client.study_id(study_uid(name)))]
    eventually(
        lambda: stable[0] in [(change.kind, change.orthanc_id) for change in client.changes(0).changes]
    )


def test_event_that_was_missed_is_found_by_comparing(site: Site, tmp_path: Path) -> None:
    send(write_chest(tmp_path, "missed"), site.archive)
    _wait_until_stable(site.archive, "missed")
    # Without a stored position the node begins at the newest change: the event lies before.
    node = site.start()
    eventually(lambda: _states(node, "missed") == ["reported"])


def test_events_that_came_while_the_node_was_away_are_followed_from_the_stored_position(
    site: Site, tmp_path: Path
) -> None:
    # Comparing comes too late to be what finds it.
    settings = site.settings(intake=IntakeSettings(poll_changes_s=0.2, reconcile_s=600, settle_s=600))
    node = site.restart(settings)
    eventually(lambda: node.ledger.memory.position(FEED) is not None)
    site.stop()
    send(write_chest(tmp_path, "away"), site.archive)
    _wait_until_stable(site.archive, "away")
    node = site.restart(settings)
    eventually(lambda: _states(node, "away") == ["reported"])


def test_feed_that_began_anew_is_followed_from_its_begin_and_said_once(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = site.settings(intake=IntakeSettings(poll_changes_s=0.2, reconcile_s=600, settle_s=600))
    node = site.restart(settings)
    eventually(lambda: node.ledger.memory.position(FEED) is not None)
    node.ledger.memory.set_position(FEED, 10**6)
    eventually(lambda: node.ledger.memory.position(FEED) == 0)
    time.sleep(1)
    assert [record.getMessage() for record in caplog.records].count(
        "the archive's feed of changes began anew"
    ) == 1
    send(write_chest(tmp_path, "anew"), site.archive)
    eventually(lambda: _states(node, "anew") == ["reported"])


def test_study_that_was_pending_stability_when_orthanc_restarted_is_found(site: Site, tmp_path: Path) -> None:
    node = site.start()
    eventually(lambda: node.health().archive_reachable)
    send(write_chest(tmp_path, "pending"), site.archive)
    site.archive.stop(timeout_s=0.01)
    site.archive.start()
    eventually(lambda: _states(node, "pending") == ["reported"])
    kinds = [change.kind for change in Orthanc(site.archive.settings()).changes(0).changes]
    images = [number for number, kind in enumerate(kinds) if kind == "NewInstance"][:SLICES]
    report = kinds.index("NewInstance", images[-1] + 1)
    assert "StableStudy" not in kinds[:report]


def test_duplicate_events_make_one_row_and_one_analysis(site: Site, tmp_path: Path) -> None:
    node = site.start()
    paths = write_chest(tmp_path, "twice")
    send(paths, site.archive)
    orthanc_id = Orthanc(site.archive.settings()).study_id(study_uid("twice"))
    for _ in range(20):
        node.hint(orthanc_id)
    eventually(lambda: _states(node, "twice") == ["reported"])
    before = node.ledger.memory.seen_at(orthanc_id)
    time.sleep(1.1)  # another second, for another LastUpdate
    send(paths, site.archive)  # the same bytes again: stable once more
    eventually(lambda: node.ledger.memory.seen_at(orthanc_id) != before)
    assert _states(node, "twice") == ["reported"]
    assert len(site.analyser.calls) == 1


def test_own_report_makes_no_work(site: Site, pacs: Pacs, tmp_path: Path) -> None:
    node = site.start(pacs.destination())
    send(write_chest(tmp_path, "own"), site.archive)
    eventually(lambda: _states(node, "own") == ["reported"])
    client = Orthanc(site.archive.settings())
    orthanc_id = client.study_id(study_uid("own"))
    # The report made the study stable again, and that was looked at.
    eventually(lambda: node.ledger.memory.seen_at(orthanc_id) == client.study(orthanc_id).last_update)
    assert len(node.ledger.recent()) == 1
    assert len(site.analyser.calls) == 1
    assert pacs.classes().count(Comprehensive3DSRStorage) == 1


def test_study_of_only_own_objects_makes_no_row(site: Site, tmp_path: Path) -> None:
    node = site.start()
    send(write_chest(tmp_path, "gone"), site.archive)
    eventually(lambda: _states(node, "gone") == ["reported"])
    [record] = node.ledger.recent()
    # The study is removed, and the PACS sends our report back.
    client = Orthanc(site.archive.settings())
    orthanc_id = client.study_id(study_uid("gone"))
    OrthancConnection(site.archive.settings()).body("DELETE", f"/studies/{orthanc_id}")
    send(node.objects(record.key), site.archive)
    eventually(lambda: node.ledger.memory.seen_at(orthanc_id) == client.study(orthanc_id).last_update)
    assert _states(node, "gone") == ["reported"]


def test_late_series_that_does_not_change_the_choice_makes_no_work(site: Site, tmp_path: Path) -> None:
    node = site.start()
    send(write_chest(tmp_path, "late"), site.archive)
    eventually(lambda: _states(node, "late") == ["reported"])
    client = Orthanc(site.archive.settings())
    orthanc_id = client.study_id(study_uid("late"))
    time.sleep(1.1)
    send(write_chest(tmp_path, "late", other_series(3, "STANDARD")), site.archive)
    newest = client.study(orthanc_id).last_update
    eventually(lambda: (node.ledger.memory.seen_at(orthanc_id) or "") >= newest)
    assert _states(node, "late") == ["reported"]
    assert len(site.analyser.calls) == 1


def test_late_slices_make_a_new_key_that_names_its_predecessor(site: Site, tmp_path: Path) -> None:
    node = site.start()
    paths = write_chest(tmp_path, "growing", slices=SLICES + 6)
    send(paths[:SLICES], site.archive)
    eventually(lambda: _states(node, "growing") == ["reported"])
    send(paths[SLICES:], site.archive)
    eventually(lambda: _states(node, "growing") == ["reported", "reported"])
    newer, older = node.ledger.recent(study_uid=study_uid("growing"))
    assert newer.predecessor == older.key
    assert len(node.result(newer.key).image_sop_instance_uids) == SLICES + 6


def test_study_without_ct_is_refused_once(site: Site, tmp_path: Path) -> None:
    node = site.start()
    paths = [as_modality(path, "MR", MRImageStorage) for path in write_chest(tmp_path, "mr")]
    send(paths[:12], site.archive)
    eventually(lambda: _states(node, "mr") == ["refused"])
    [record] = node.ledger.recent()
    assert record.code == "no_ct_series"
    assert record.sentence
    orthanc_id = record.orthanc_id or ""
    before = node.ledger.memory.seen_at(orthanc_id)
    time.sleep(1.1)
    send(paths[12:], site.archive)
    eventually(lambda: node.ledger.memory.seen_at(orthanc_id) != before)
    assert _states(node, "mr") == ["refused"]


def test_study_refused_for_too_few_slices_is_analysed_when_the_rest_has_come(
    site: Site, tmp_path: Path
) -> None:
    node = site.start()
    paths = write_chest(tmp_path, "slow")
    send([*write_scout(tmp_path, "slow"), *paths[:5]], site.archive)
    eventually(lambda: _states(node, "slow") == ["refused"])
    [first] = node.ledger.recent()
    assert first.code == "too_few_slices"
    send(paths[5:], site.archive)
    eventually(lambda: _states(node, "slow") == ["reported", "refused"])


def test_archive_that_is_away_is_said_once_and_waited_for(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    send(write_chest(tmp_path, "sleeper"), site.archive)
    _wait_until_stable(site.archive, "sleeper")
    site.archive.stop(timeout_s=0.2)
    caplog.set_level(logging.INFO)
    node = site.start()
    eventually(lambda: "connection refused" in (node.health().archive_problem or ""))
    time.sleep(2.5)
    said = [
        record.getMessage() for record in caplog.records if "archive cannot be used" in record.getMessage()
    ]
    assert len(said) == 1
    assert not node.health().archive_reachable
    site.archive.start()
    eventually(lambda: _states(node, "sleeper") == ["reported"])
    health = node.health()
    assert health.archive_reachable
    assert health.archive_version == "1.10.1" or health.archive_version >= "1.12"
    if health.archive_version == "1.10.1":
        assert "1.12.11" in health.warnings[0]


def test_study_that_cannot_be_examined_is_visible_until_it_can(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dicom_node.intake._FAULT_PAUSE_S", (0.5, 1.0))
    examine = Examiner._examine
    faults = [RuntimeError("Geheim^Niemand"), RuntimeError("Geheim^Niemand")]

    def failing(self: Examiner, study: object) -> None:
        if faults:
            raise faults.pop()
        examine(self, study)  # type: ignore[arg-type]

    monkeypatch.setattr(Examiner, "_examine", failing)
    node = site.start()
    send(write_chest(tmp_path, "odd"), site.archive)
    eventually(lambda: _states(node, "odd") == ["failing"])
    assert "Geheim" not in str(node.ledger.recent())
    eventually(lambda: _states(node, "odd") == ["reported"])


def test_every_image_of_a_real_study_keeps_its_header(site: Site, ct_data: Path) -> None:
    """The kernel-a series of the two-kernel study is chosen, from the archive's JSON of its headers."""
    node = site.start()
    folders = [ct_data / "ct" / "lung-dx-a0001-philips" / kernel for kernel in ("kernel-a", "kernel-b")]
    files = [sorted(folder.glob("*.dcm")) for folder in folders]
    send([path for kernel in files for path in kernel], site.archive)
    eventually(lambda: [record.state for record in node.ledger.recent()] == ["reported"])
    [record] = node.ledger.recent()
    wanted = dcmread(files[0][0], stop_before_pixels=True)
    assert record.series_uid == wanted.SeriesInstanceUID
    assert len(instances_of(site.archive, CTImageStorage)) == 128
    decisions = {item.series_uid: item.reason for item in node.ledger.plan(record.key).decisions}
    assert decisions.pop(record.series_uid) == "chosen"
    assert list(decisions.values()) == ["kernel"]
