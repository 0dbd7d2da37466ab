"""A whole site for the pages: the node's own program with its Orthanc, a PACS, a study of each ending."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import tomli_w

from dicom_node.cstore import Peer, send_objects
from dicom_node.data_folder import DataFolder
from dicom_node.ledger import Ledger
from dicom_node.ledger_records import NOT_EXAMINED, NewWork, State
from dicom_node.plan import WorkPlan
from phantom.cases import Case
from phantom.grid import Grid, centred_grid
from phantom.identity import PatientIdentity
from phantom.scene import LUNG, STANDARD
from phantom.studies import SyntheticStudy, chest_study, head_study
from tests.conftest import PROJECT
from tests.dicom_node.conftest import Pacs, next_free_port

AET = "DICOM-NODE"
MARKUP = PatientIdentity("<script>alert(1)</script>^<b>Bold</b>", '"><img src=x>', "O", None)
NUMBER = "A-<i>77</i>"
_SMALL = centred_grid((5.0, 1.5, 1.5), (64, 256, 256))
_READY_S, _ENDED_S = 300, 300


@dataclass(frozen=True)
class RunningSite:
    """Where the node listens, and the studies by what became of them (Study Instance UIDs)."""

    url: str
    studies: dict[str, str]
    ledger: Ledger
    pacs: Pacs
    data: DataFolder

    def key(self, name: str) -> str:
        """The newest key of work on a study."""
        return self.ledger.recent(1, self.studies[name])[0].key


@contextmanager
def running_site(
    folder: Path,
    *,
    grid: Grid | None = _SMALL,
    language: str = "en",
    patient: PatientIdentity | None = MARKUP,
    token: str = "",
) -> Iterator[RunningSite]:
    """The site with a pathological, a normal and a refused study, and rows of the ledger that stand still.

    Without a grid the chests have the size that a scanner gives them; `patient` is the pathological one.
    With a `token` everybody has to sign in.
    """
    pacs = Pacs(aet="HOSPITAL-PACS")
    pacs.start()
    url, dicom_port = _write_settings(folder, pacs, language, token)
    command = [sys.executable, "-m", "dicom_node.cli", "run", "--with-orthanc", "--settings", "node.toml"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DICOM_NODE_")}
    environment["PYTHONPATH"] = str(PROJECT)
    with (folder / "node.log").open("wb") as log:
        node = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        _wait_until_ready(node, url, folder)
        peer = Peer("127.0.0.1", dicom_port, AET)
        sent = {name: _send(study, folder / name, peer) for name, study in _studies(grid, patient).items()}
        data = DataFolder(folder / "node")
        ledger = Ledger(data.ledger_url)
        _wait_until_ended(ledger, sent)
        yield RunningSite(url, {**sent, **_standing_still(ledger)}, ledger, pacs, data)
        ledger.close()
    finally:
        node.send_signal(signal.SIGTERM)
        try:
            node.wait(30)
        except subprocess.TimeoutExpired:
            node.kill()
            node.wait()
        pacs.stop()


def _studies(grid: Grid | None, patient: PatientIdentity | None) -> dict[str, SyntheticStudy]:
    sick = chest_study(
        Case(1200002, ("Pleural effusion", "Cardiomegaly")),
        grid=grid,
        kernels=(STANDARD, LUNG),
        patient=patient,
    )
    if patient is MARKUP:
        sick = replace(sick, study=replace(sick.study, description="<u>CT</u> chest"))
    return {
        "refused": head_study(1200007, grid=centred_grid((5.0, 3.0, 3.0), (24, 64, 64))),
        "normal": chest_study(Case(1200000, ()), grid=grid),
        "finished": sick,
    }


def _send(study: SyntheticStudy, folder: Path, peer: Peer) -> str:
    folder.mkdir()
    paths = []
    for number, image in enumerate(study.datasets()):
        image.AccessionNumber = NUMBER if study.study.identity is MARKUP else f"A-{folder.name}"
        paths.append(folder / f"{number:04}.dcm")
        image.save_as(paths[-1], enforce_file_format=True)
    assert all(item.stored for item in send_objects(peer, paths, calling_aet="SCANNER"))
    return str(study.study.uid)


def _write_settings(folder: Path, pacs: Pacs, language: str, token: str) -> tuple[str, int]:
    http, orthanc_http, orthanc_dicom, nobody = (next_free_port() for _ in range(4))
    destinations = [("pacs", pacs.port, pacs.aet), ("mirror", nobody, "MIRROR")]
    settings: dict[str, Any] = {
        "data_folder": str(folder / "node"),
        "http": {"port": http},
        "orthanc": {"url": f"http://127.0.0.1:{orthanc_http}", "dicom_port": orthanc_dicom, "aet": AET},
        "intake": {"poll_changes_s": 0.2, "settle_s": 0.5},
        "worker": {"threads": 1},
        "report": {"language": language, "objects": ["sr", "sc", "kos", "seg", "pdf"]},
        "web": {"show_patient": True, "language": language},
        "destinations": [
            {"name": name, "host": "127.0.0.1", "port": port, "aet": aet, "retry_first_s": 600}
            for name, port, aet in destinations
        ],
    }
    if token:
        (folder / "token").write_text(token)
        settings["http"]["token_file"] = str(folder / "token")
    (folder / "node.toml").write_text(tomli_w.dumps(settings), encoding="utf-8")
    return f"http://127.0.0.1:{http}", orthanc_dicom


def _wait_until_ready(node: subprocess.Popen[bytes], url: str, folder: Path) -> None:
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline:
        assert node.poll() is None, (folder / "node.log").read_text()[-2000:]
        try:
            if httpx.get(f"{url}/ready", timeout=5).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass  # not listening yet
        time.sleep(0.1)
    raise AssertionError("the node was not ready in time")


def _wait_until_ended(ledger: Ledger, studies: dict[str, str]) -> None:
    """All have ended, and every destination was tried once."""
    deadline = time.monotonic() + _ENDED_S
    while time.monotonic() < deadline:
        records = [ledger.recent(1, uid) for uid in studies.values()]
        if all(found and found[0].ended for found in records):
            deliveries = [item for found in records for item in found[0].deliveries]
            if deliveries and all(item.attempts for item in deliveries):
                return
        time.sleep(0.1)
    raise AssertionError("the studies did not end in time")


def _standing_still(ledger: Ledger) -> dict[str, str]:
    """Rows that the node leaves alone, since it takes them for studies that it could not examine yet."""
    states: dict[str, State | None] = {"waiting": None, "in work": "analysing", "failing": "failing"}
    uids = {}
    for number, (name, state) in enumerate(states.items()):
        uid = uids[name] = f"2.25.{10**37 + number}"
        key = f"{number:064x}"
        plan = WorkPlan(uid, "", (), ())
        ledger.add(NewWork(key, "archive", plan, "archive", NOT_EXAMINED))
        if state == "failing":
            ledger.failing(key, "Orthanc does not answer in time", 900)
        elif state is not None:
            ledger.record_seconds(key, {"queue": 1.25, "fetch": 0.8})
            ledger.enter(key, state)
    return uids
