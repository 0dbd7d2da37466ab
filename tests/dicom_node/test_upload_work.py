"""Uploads go the way of every study; what they leave behind, and where their results go."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import Comprehensive3DSRStorage, CTImageStorage

from dicom_node.node import Node
from dicom_node.orthanc import Orthanc
from dicom_node.uploads import Upload
from tests.dicom_node.conftest import Pacs, Site, eventually, instances_of
from tests.dicom_node.studies import SLICES, study_uid, write_chest, write_scout


def _upload(node: Node, paths: list[Path]) -> Upload:
    """The files as they lie after a ZIP was received."""
    folder = node.folder.uploads / uuid.uuid4().hex
    folder.mkdir()
    files = tuple(Path(shutil.copy(path, folder / f"{number}")) for number, path in enumerate(paths))
    return Upload(folder, "dicom", files, "")


def _left(node: Node) -> list[Path]:
    return [*node.folder.uploads.iterdir(), *(node.folder.root / "work").iterdir()]


def test_upload_is_answered_and_leaves_nothing_behind(site: Site, pacs: Pacs, tmp_path: Path) -> None:
    node = site.start(pacs.destination())
    key = node.submit_upload(_upload(node, write_chest(tmp_path, "up")), "answer")
    record = node.wait(key, 30)
    assert (record.state, record.source, record.archived) == ("reported", "upload", False)
    assert node.result(key).study_uid == study_uid("up")
    assert node.objects(key) == []
    assert _left(node) == []
    assert Orthanc(site.archive.settings()).studies() == []
    assert record.deliveries == ()
    assert pacs.received == []


def test_objects_for_the_caller_only_are_gone_when_the_caller_has_them(site: Site, tmp_path: Path) -> None:
    node = site.start()
    paths = write_chest(tmp_path, "caller")
    key = node.submit_upload(_upload(node, paths), "answer")
    node.wait(key, 30)
    given = []
    for _ in range(2):
        assert node.submit_upload(_upload(node, paths), "objects") == key
        assert node.wait(key, 30).state == "reported"
        given.append([path.read_bytes() for path in node.objects(key)])
        node.forget_objects(key)
        kept = [path.name for path in node.folder.results(key).iterdir()]
        assert kept == ["result.json"]
    assert given[0] == given[1]
    assert len(site.analyser.calls) == 1
    assert _left(node) == []


def test_objects_of_the_archive_are_not_forgotten(site: Site, tmp_path: Path) -> None:
    node = site.start()
    key = node.submit_upload(_upload(node, write_chest(tmp_path, "stay")), "archive")
    assert node.wait(key, 30).state == "reported"
    node.forget_objects(key)
    assert dcmread(node.objects(key)[0]).SOPClassUID == Comprehensive3DSRStorage


def test_same_upload_is_not_analysed_twice(site: Site, tmp_path: Path) -> None:
    node = site.start()
    paths = write_chest(tmp_path, "same")
    keys = [node.submit_upload(_upload(node, paths), "answer") for _ in range(3)]
    assert len(set(keys)) == 1
    assert node.wait(keys[0], 30).state == "reported"
    assert node.submit_upload(_upload(node, paths[::-1]), "answer") == keys[0]
    assert len(site.analyser.calls) == 1
    assert _left(node) == []


def test_archived_upload_lies_in_archive_and_pacs_with_its_originals(
    site: Site, pacs: Pacs, tmp_path: Path
) -> None:
    node = site.start(pacs.destination())
    paths = [*write_chest(tmp_path, "kept"), *write_scout(tmp_path, "kept")]
    key = node.submit_upload(_upload(node, paths), "archive")
    assert node.wait(key, 30).state == "reported"
    assert len(instances_of(site.archive, CTImageStorage)) == SLICES + 1
    assert len(instances_of(site.archive, Comprehensive3DSRStorage)) == 1
    eventually(lambda: Comprehensive3DSRStorage in pacs.classes())
    # In the archive the same bytes have the same key: the stable event makes no work.
    client = Orthanc(site.archive.settings())
    orthanc_id = client.study_id(study_uid("kept"))
    eventually(lambda: node.ledger.memory.seen_at(orthanc_id) == client.study(orthanc_id).last_update)
    assert len(node.ledger.recent()) == 1
    assert len(site.analyser.calls) == 1
    assert _left(node) == []


def test_upload_that_is_to_be_archived_after_all_is_not_analysed_again(
    site: Site, pacs: Pacs, tmp_path: Path
) -> None:
    node = site.start(pacs.destination())
    paths = write_chest(tmp_path, "after-all")
    key = node.submit_upload(_upload(node, paths), "answer")
    assert node.wait(key, 30).state == "reported"
    assert node.submit_upload(_upload(node, paths), "archive") == key
    assert node.wait(key, 30).archived
    eventually(lambda: Comprehensive3DSRStorage in pacs.classes())
    assert len(instances_of(site.archive, CTImageStorage)) == SLICES
    assert len(site.analyser.calls) == 1
    assert _left(node) == []


def test_study_that_was_uploaded_before_is_reported_when_it_comes_into_the_archive(
    site: Site, pacs: Pacs, tmp_path: Path
) -> None:
    node = site.start(pacs.destination())
    paths = write_chest(tmp_path, "known")
    key = node.submit_upload(_upload(node, paths), "answer")
    assert node.wait(key, 30).state == "reported"
    client = Orthanc(site.archive.settings())
    for path in paths:  # by REST, which keeps the bytes and therefore the key
        client.store(path.read_bytes())
    eventually(lambda: Comprehensive3DSRStorage in pacs.classes())
    assert len(instances_of(site.archive, Comprehensive3DSRStorage)) == 1
    assert site.analyser.calls == [key]


@pytest.mark.parametrize(
    ("names", "code"), [(["few"], "too_few_slices"), (["one", "two"], "mixed_studies"), ([], "not_dicom")]
)
def test_refused_upload_has_a_row_and_leaves_nothing_behind(
    site: Site, names: list[str], code: str, tmp_path: Path
) -> None:
    node = site.start()
    junk = tmp_path / "junk.txt"
    junk.write_text("not DICOM")
    paths = [junk, *(path for name in names for path in write_chest(tmp_path, name)[:5])]
    record = node.wait(node.submit_upload(_upload(node, paths), "archive"), 0)
    assert (record.state, record.code) == ("refused", code)
    assert record.sentence
    assert record.remedy
    assert _left(node) == []


def test_upload_that_keeps_failing_ends_and_leaves_nothing_behind(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dicom_node.study_runs.UPLOAD_PAUSE_S", 0.1)
    site.analyser.faults = [RuntimeError("broken")] * 3
    node = site.start()
    paths = write_chest(tmp_path, "broken")
    key = node.submit_upload(_upload(node, paths), "answer")
    record = node.wait(key, 30)
    assert (record.state, record.ended, record.failures) == ("failing", True, 3)
    assert _left(node) == []
    # Sent again, it is tried again.
    assert node.submit_upload(_upload(node, paths), "answer") == key
    assert node.wait(key, 30).state == "reported"
    assert _left(node) == []


def test_nifti_upload_has_an_answer_and_no_objects(site: Site) -> None:
    node = site.start()
    folder = node.folder.uploads / "volume"
    folder.mkdir()
    file = folder / "volume.nii"
    file.write_bytes(np.zeros(400, np.uint8).tobytes())
    key = node.submit_upload(Upload(folder, "nifti", (file,), "case7"), "archive")
    assert node.wait(key, 30).state == "reported"
    assert (node.result(key).study_uid, node.result(key).key) == ("nifti_case7", key)
    assert node.objects(key) == []
    assert _left(node) == []


def test_what_a_kill_left_behind_is_removed_at_the_start(site: Site) -> None:
    settings = site.settings()
    node = site.restart(settings)
    site.stop()
    for orphan in (node.folder.uploads / "orphan", node.folder.work("ab" * 32)):
        orphan.mkdir()
        (orphan / "slice.dcm").write_bytes(b"x")
    assert _left(site.restart(settings)) == []
