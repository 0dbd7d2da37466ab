"""A node that does not come up ends as it should."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from dicom_node.errors import SiteProblem
from dicom_node.node import Node
from dicom_node.settings import WorkerSettings
from dicom_node.workflow import StudyWorkflows
from tests.dicom_node.conftest import Site
from tests.dicom_node.tested_bundle import write_tested_bundle

THREADS = {"heartbeat", "bundle-switch", "intake-watch", "intake-examiner"}


def test_a_start_that_fails_says_why_and_leaves_nothing_running(
    site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise SiteProblem("the database went away")

    monkeypatch.setattr(StudyWorkflows, "resume", broken)
    write_tested_bundle(tmp_path)
    settings = site.settings(worker=WorkerSettings(bundles_folder=tmp_path, device="cpu"))
    node = Node(settings)
    with pytest.raises(SiteProblem, match="went away"):
        node.start()
    node.stop()
    assert not THREADS & {thread.name for thread in threading.enumerate()}
    monkeypatch.undo()
    # Its place is free for another.
    again = Node(settings)
    again.start()
    again.stop()
