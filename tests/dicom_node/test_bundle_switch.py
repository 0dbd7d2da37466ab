"""A node changes its bundle while it works: nothing is lost, no bundle answers under another one's key."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dicom_node.activation import ActivationBook, BundleChoice
from dicom_node.active_bundle import ActiveBundle
from dicom_node.analysis import BundleNotUsable, LoadedBundle
from dicom_node.bundle_switch import BundleSwitch
from dicom_node.errors import ArchiveUnavailable
from dicom_node.node import Node
from dicom_node.settings import Settings, WorkerSettings
from dicom_node.uploads import Upload
from inference.self_test import NO_SELF_TEST, SelfTestReport
from tests.dicom_node.conftest import Site, eventually
from tests.dicom_node.shelf import Shelf
from tests.dicom_node.studies import send, study_uid, write_chest


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dicom_node.bundle_switch.LOOK_S", 0.1)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "bundles", "a", "b")


class Desk:
    """Starts nodes over one data folder, one at a time; without an archive unless settings name one."""

    def __init__(self, settings: Settings, shelf: Shelf) -> None:
        self.settings, self.shelf = settings, shelf
        self._node: Node | None = None

    def start(self, bundle: str = "a", *, intake: bool = True, **worker: object) -> Node:
        self.stop()
        values = {"bundle": bundle, "bundles_folder": self.shelf.folder, "retry_first_s": 0.5, **worker}
        settings = self.settings.model_copy(update={"worker": WorkerSettings.model_validate(values)})
        self._node = Node(settings, load=self.shelf.load, intake=intake)
        self._node.start()
        return self._node

    def stop(self) -> None:
        for analyser in self.shelf.analysers.values():
            analyser.gate.set()
        node, self._node = self._node, None
        if node is not None:
            node.stop()


@pytest.fixture
def desk(tmp_path: Path, shelf: Shelf) -> Iterator[Desk]:
    """A node without archive: uploads only."""
    desk = Desk(Settings(data_folder=tmp_path / "node"), shelf)
    yield desk
    desk.stop()


@pytest.fixture
def archive_desk(site: Site, shelf: Shelf) -> Iterator[Desk]:
    """A node beside an Orthanc."""
    desk = Desk(site.settings(), shelf)
    yield desk
    desk.stop()


def nifti(node: Node, name: str = "case") -> Upload:
    folder = node.folder.uploads / uuid.uuid4().hex
    folder.mkdir()
    file = folder / "volume.nii"
    file.write_bytes(np.zeros(400, np.uint8).tobytes())
    return Upload(folder, "nifti", (file,), name)


def in_use(node: Node) -> str:
    state = node.health().bundle
    assert state is not None
    return state.in_use


def states(node: Node, name: str) -> list[str]:
    return [record.state for record in node.ledger.recent(study_uid=study_uid(name))]


def test_what_was_taken_in_is_finished_by_the_old_bundle_and_what_comes_waits_for_the_new(
    archive_desk: Desk, site: Site, shelf: Shelf, tmp_path: Path
) -> None:
    node = archive_desk.start()
    shelf.analysers["a"].gate.clear()
    for name in ("one", "two"):
        send(write_chest(tmp_path, name), site.archive)
    eventually(lambda: len(shelf.analysers["a"].calls) == 2)
    shelf.request(node.folder.root, "b")
    eventually(lambda: node.health().bundle.switching)  # type: ignore[union-attr]
    send(write_chest(tmp_path, "three"), site.archive)
    keys: list[str] = []
    upload = threading.Thread(target=lambda: keys.append(node.submit_upload(nifti(node), "answer")))
    upload.start()
    health = node.health()
    assert health.ready
    assert health.bundle is not None
    assert (health.bundle.in_use, health.bundle.requested) == ("a", "b")
    assert {record.study_uid for record in node.ledger.recent()} == {study_uid("one"), study_uid("two")}
    assert shelf.loads == ["a"]

    shelf.analysers["a"].gate.set()
    eventually(lambda: states(node, "three") == ["reported"])
    upload.join(30)
    assert node.wait(keys[0], 30).state == "reported"
    for record in node.ledger.recent():
        expected = "a" if record.study_uid in {study_uid("one"), study_uid("two")} else "b"
        digest = shelf.choice(expected).digest
        assert record.state == "reported"
        assert node.result(record.key).bundle.digest == node.ledger.plan(record.key).bundle == digest
    assert (in_use(node), shelf.loads) == ("b", ["a", "b"])
    activation = ActivationBook(node.folder.root).read()
    assert activation is not None
    assert (activation.in_use, activation.previous) == (shelf.choice("b"), shelf.choice("a"))
    assert not activation.pending


def test_study_that_was_failing_during_the_switch_is_analysed_anew_under_the_new_key(
    archive_desk: Desk, site: Site, shelf: Shelf, tmp_path: Path
) -> None:
    node = archive_desk.start(retry_first_s=4)
    shelf.analysers["a"].faults = [ArchiveUnavailable("away")]
    send(write_chest(tmp_path, "failing"), site.archive)
    eventually(lambda: states(node, "failing") == ["failing"])
    shelf.request(node.folder.root, "b")
    eventually(lambda: in_use(node) == "b")
    eventually(lambda: states(node, "failing") == ["reported", "refused"])
    newer, older = node.ledger.recent()
    assert older.code == "bundle_replaced"
    assert older.remedy
    assert (newer.predecessor, node.result(newer.key).bundle.digest) == (older.key, shelf.choice("b").digest)
    with pytest.raises(KeyError):
        node.result(older.key)


def test_work_of_another_bundle_that_a_restart_finds_ends_visibly(
    desk: Desk, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dicom_node.study_runs.UPLOAD_PAUSE_S", 3)
    node = desk.start("a")

    def away(*_: object, **__: object) -> None:
        raise ArchiveUnavailable("away")

    monkeypatch.setattr(shelf.analysers["a"], "analyse_nifti", away)
    key = node.submit_upload(nifti(node), "answer")
    eventually(lambda: node.ledger.known(key).state == "failing")
    node = desk.start("b")
    ended = node.wait(key, 30)
    assert (ended.state, ended.code) == ("refused", "bundle_replaced")
    assert "Upload an upload again" in (ended.remedy or "")
    assert not list(node.folder.uploads.iterdir())
    again = node.submit_upload(nifti(node), "answer")
    assert node.wait(again, 30).state == "reported"
    assert node.result(again).bundle.digest == shelf.choice("b").digest
    # Taken back, the first bundle is not held to the work that it could not end.
    monkeypatch.undo()
    node = desk.start("a")
    third = node.submit_upload(nifti(node), "answer")
    assert len({key, again, third}) == 3
    assert node.wait(third, 30).state == "reported"
    assert node.submit_upload(nifti(node), "answer") == third


def test_refused_activation_leaves_the_old_bundle_answering(desk: Desk, shelf: Shelf) -> None:
    node = desk.start()
    shelf.broken.add("b")
    shelf.request(node.folder.root, "b")
    eventually(lambda: shelf.loads == ["a", "b", "a"])
    eventually(lambda: node.health().bundle.problem is not None)  # type: ignore[union-attr]
    state = node.health().bundle
    assert state is not None
    assert (state.in_use, state.requested) == ("a", None)
    assert state.problem == "the bundle b is not used: self_test_failed: b does not reproduce its scores"
    activation = ActivationBook(node.folder.root).read()
    assert activation is not None
    assert (activation.in_use, activation.refused) == (shelf.choice("a"), state.problem)
    key = node.submit_upload(nifti(node), "answer")
    assert node.wait(key, 30).state == "reported"
    assert node.result(key).bundle.digest == shelf.choice("a").digest
    # Mended and asked for again, it is used.
    shelf.broken.clear()
    shelf.request(node.folder.root, "b")
    eventually(lambda: in_use(node) == "b")
    eventually(lambda: node.health().bundle.problem is None)  # type: ignore[union-attr]


def test_activation_is_taken_back(desk: Desk, shelf: Shelf) -> None:
    node = desk.start()
    book = ActivationBook(node.folder.root)
    shelf.request(node.folder.root, "b")
    eventually(lambda: in_use(node) == "b")
    eventually(lambda: book.read().taken_back == shelf.choice("a"))  # type: ignore[union-attr]
    shelf.request(node.folder.root, "a")
    eventually(lambda: in_use(node) == "a")
    key = node.submit_upload(nifti(node), "answer")
    assert node.wait(key, 30).state == "reported"
    assert node.result(key).bundle.digest == shelf.choice("a").digest
    # The file wins over the setting at the next start too.
    shelf.request(node.folder.root, "b")
    eventually(lambda: in_use(node) == "b")
    assert in_use(desk.start("a")) == "b"


def test_node_without_any_bundle_is_not_ready_until_one_loads(
    desk: Desk, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dicom_node.bundle_switch.RETRY_S", 0.1)
    node = desk.start()
    shelf.broken.update({"a", "b"})
    shelf.request(node.folder.root, "b")
    eventually(lambda: len(shelf.loads) > 3)
    eventually(lambda: not node.ready)
    problem = node.health().bundle
    assert problem is not None
    assert problem.problem is not None
    assert problem.problem.startswith("no bundle is loaded: ")
    shelf.broken.discard("a")
    eventually(lambda: node.ready and in_use(node) == "a")


def test_switch_that_was_not_made_is_made_at_the_start_or_refused(desk: Desk, shelf: Shelf) -> None:
    shelf.request(desk.settings.data_folder, "b")
    node = desk.start()
    assert in_use(node) == "b"
    shelf.broken.add("a")
    desk.stop()
    shelf.request(desk.settings.data_folder, "a")
    node = desk.start()
    assert in_use(node) == "b"
    assert "a is not used" in str(node.health().bundle.problem)  # type: ignore[union-attr]


def test_activated_bundle_whose_manifest_changed_is_refused_at_the_start(desk: Desk, shelf: Shelf) -> None:
    shelf.request(desk.settings.data_folder, "b")
    desk.start()
    desk.stop()
    (shelf.folder / "b" / "bundle.toml").write_text("changed")
    shelf.analysers.clear()
    with pytest.raises(BundleNotUsable, match=r"bundle.toml of b is no longer the one that was activated"):
        desk.start()


def test_worker_follows_what_is_in_use_and_not_what_is_requested(desk: Desk, shelf: Shelf) -> None:
    node = desk.start(intake=False)
    book = ActivationBook(node.folder.root)
    shelf.request(node.folder.root, "b")
    assert node._parts.switch is not None
    node._parts.switch._look()
    assert in_use(node) == "a"
    book.switched(shelf.choice("b"))
    eventually(lambda: in_use(node) == "b")


def test_worker_that_is_given_a_study_of_the_new_bundle_loads_it_first(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dicom_node.bundle_switch.LOOK_S", 3600)
    book = ActivationBook(tmp_path)
    settings = Settings()

    def load(choice: BundleChoice) -> LoadedBundle:
        return shelf.load(settings, shelf.folder / choice.name)

    active = ActiveBundle(load(shelf.choice("a")))
    switch = BundleSwitch(active, shelf.choice("a"), book, load, None)
    switch.start()
    try:
        b = shelf.choice("b").digest
        switch.catch_up(b)  # nobody switched to it: the study's run is to end
        assert active.identity.digest != b
        book.request(shelf.choice("b"), shelf.choice("a"))
        book.switched(shelf.choice("b"))
        switch.catch_up(b)
        assert active.identity.digest == b
        shelf.broken.add("a")
        book.switched(shelf.choice("a"))
        with pytest.raises(BundleNotUsable, match="does not have the bundle a"):
            switch.catch_up(shelf.choice("a").digest)
        assert active.identity.digest == b
    finally:
        switch.stop()


def test_every_result_of_a_bundle_without_a_self_test_says_so(tmp_path: Path, shelf: Shelf) -> None:
    untested = SelfTestReport("float32", "float32", ())

    def load(settings: Settings, folder: Path) -> LoadedBundle:
        return LoadedBundle(shelf.load(settings, folder).analyser, untested)

    worker = WorkerSettings(bundle="a", bundles_folder=shelf.folder)
    node = Node(Settings(data_folder=tmp_path / "node", worker=worker), load=load)
    node.start()
    try:
        key = node.submit_upload(nifti(node), "answer")
        assert node.wait(key, 30).state == "reported"
        assert node.result(key).warnings == (NO_SELF_TEST,)
    finally:
        node.stop()
