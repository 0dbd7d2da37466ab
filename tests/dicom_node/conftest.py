"""Real Orthanc processes, a PACS of pynetdicom, nodes: each test has its own, its files below tmp_path."""

from __future__ import annotations

import itertools
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pydicom.uid import AllTransferSyntaxes
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.events import Event
from pynetdicom.sop_class import Verification
from pynetdicom.transport import ThreadedAssociationServer

from dicom_node.destination_settings import DestinationSettings
from dicom_node.errors import OrthancFailed
from dicom_node.local_orthanc import LocalOrthanc, find_orthanc
from dicom_node.node import Node
from dicom_node.orthanc import Orthanc
from dicom_node.settings import IntakeSettings, Settings, ViewerSettings, WorkerSettings
from dicom_node.viewer.install import installed_package
from dicom_node.viewer.package import OHIF
from tests.conftest import PROJECT
from tests.dicom_node.stand_in import StandInAnalyser

# Below the range from which the kernel takes ports for outgoing connections; a part for each test process.
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_PORTS = itertools.cycle(range(20000 + 700 * _WORKER + random.randrange(0, 600, 20), 20700 + 700 * _WORKER))


@pytest.fixture(scope="session")
def orthanc_program() -> str:
    """Where Orthanc is; absent, tests are skipped, in CI they fail."""
    try:
        return find_orthanc()
    except OrthancFailed as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def viewer_folder() -> Path:
    """Where the viewer is installed; absent, tests are skipped, in CI they fail."""
    folder = ViewerSettings().folder
    if installed_package(folder) != OHIF.integrity:
        message = f"no {OHIF.specifier} in {folder}: dicom-node viewer install"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return folder


@pytest.fixture
def free_port() -> Callable[[], int]:
    """A port that nothing listens on, another one at each call."""
    return next_free_port


def next_free_port() -> int:
    for port in _PORTS:
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
            return port
    raise AssertionError("unreachable: the ports are a cycle")


@pytest.fixture
def make_orthanc(orthanc_program: str, tmp_path: Path) -> Iterator[Callable[..., LocalOrthanc]]:
    """Starts Orthancs of this test; they are stopped at its end."""
    started: list[LocalOrthanc] = []

    def make(folder: str = "archive", *, aet: str = "DICOM-NODE", **options: object) -> LocalOrthanc:
        orthanc = LocalOrthanc(
            tmp_path / folder,
            http_port=next_free_port(),
            dicom_port=next_free_port(),
            aet=aet,
            stable_age_s=1,
            **options,  # type: ignore[arg-type]
        )
        orthanc.start()
        started.append(orthanc)
        return orthanc

    yield make
    for orthanc in started:
        orthanc.stop(timeout_s=0.2)


@pytest.fixture
def archive(make_orthanc: Callable[..., LocalOrthanc]) -> LocalOrthanc:
    """The node's Orthanc, without the plug-in."""
    return make_orthanc()


@dataclass
class Site:
    """A node beside its archive; `analyser` stands for the networks."""

    archive: LocalOrthanc
    folder: Path
    analyser: StandInAnalyser = field(default_factory=StandInAnalyser)
    _node: Node | None = None

    def settings(self, *destinations: DestinationSettings, **changes: object) -> Settings:
        """Settings that are quick where a real site waits."""
        values: dict[str, object] = {
            "data_folder": self.folder,
            "orthanc": self.archive.settings(),
            "intake": IntakeSettings(poll_changes_s=0.2, reconcile_s=60, settle_s=0.5),
            "worker": WorkerSettings(retry_first_s=0.5, retry_longest_s=1),
            "destinations": destinations,
            **changes,
        }
        return Settings(**values)  # type: ignore[arg-type]

    def start(self, *destinations: DestinationSettings, **changes: object) -> Node:
        """A node with these settings."""
        return self.restart(self.settings(*destinations, **changes))

    def restart(self, settings: Settings) -> Node:
        """A node in place of the one before."""
        self.stop()
        self._node = Node(settings, analyser=self.analyser)
        self._node.start()
        return self._node

    def stop(self) -> None:
        """Stop the node, if it runs."""
        self.analyser.gate.set()
        node, self._node = self._node, None
        if node is not None:
            node.stop()


@pytest.fixture
def site(archive: LocalOrthanc, tmp_path: Path) -> Iterator[Site]:
    """An archive that runs, and a node that the test starts."""
    site = Site(archive, tmp_path / "node")
    yield site
    site.stop()


@dataclass
class Pacs:
    """A storage SCP that keeps what it gets: the data set's own bytes, in the order of arrival."""

    port: int = field(default_factory=next_free_port)
    aet: str = "PACS"
    received: list[tuple[str, str, bytes]] = field(default_factory=list)  # SOP class, SOP instance, data set
    refused_classes: set[str] = field(default_factory=set)
    status: int = 0x0000
    _server: ThreadedAssociationServer | None = None

    def start(self) -> None:
        entity = AE(self.aet)
        entity.add_supported_context(Verification)
        for context in AllStoragePresentationContexts:
            entity.add_supported_context(context.abstract_syntax, AllTransferSyntaxes)
        entity.require_called_aet = True
        self._server = entity.start_server(
            ("127.0.0.1", self.port), block=False, evt_handlers=[(evt.EVT_C_STORE, self._store)]
        )

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server = None

    def _store(self, event: Event) -> int:
        request = event.request
        if request.AffectedSOPClassUID in self.refused_classes:
            return 0xA700
        self.received.append(
            (
                str(request.AffectedSOPClassUID),
                str(request.AffectedSOPInstanceUID),
                request.DataSet.getvalue(),
            )
        )
        return self.status

    def classes(self) -> list[str]:
        return [sop_class for sop_class, _, _ in self.received]

    def destination(self, name: str = "pacs", **changes: object) -> DestinationSettings:
        values = {"aet": self.aet, "timeout_s": 5, "retry_first_s": 0.5, "retry_longest_s": 1, **changes}
        return DestinationSettings(name=name, host="127.0.0.1", port=self.port, **values)  # type: ignore[arg-type]


@pytest.fixture
def pacs() -> Iterator[Pacs]:
    """A PACS that runs."""
    pacs = Pacs()
    pacs.start()
    yield pacs
    pacs.stop()


@dataclass(frozen=True)
class NodeProgram:
    """A node in a process of its own, with the stand-in analyser; its log lines go into `folder`/node.log."""

    settings_file: Path
    folder: Path

    @contextmanager
    def running(self, place: str | None = None) -> Iterator[subprocess.Popen[bytes]]:
        """The process; it kills itself at `place` (see node_process), and is killed at the end."""
        command = [sys.executable, "-m", "tests.dicom_node.node_process", str(self.settings_file)]
        with (self.folder / "node.log").open("ab") as log:
            process = subprocess.Popen([*command, *([place] if place else [])], cwd=PROJECT, stderr=log)
            try:
                yield process
            finally:
                process.kill()
                process.wait()


@pytest.fixture
def node_program(site: Site, pacs: Pacs, tmp_path: Path) -> NodeProgram:
    """A node of the site that delivers to the PACS."""
    orthanc = site.archive.settings()
    file = tmp_path / "node.toml"
    file.write_text(
        f"""
data_folder = "{site.folder}"
[orthanc]
url = "{orthanc.url}"
username = "{orthanc.username}"
password_file = "{site.archive.folder / "password"}"
[intake]
poll_changes_s = 0.2
settle_s = 0.5
[worker]
executor_id = "of-its-own"
retry_first_s = 0.5
[[destinations]]
name = "pacs"
host = "127.0.0.1"
port = {pacs.port}
aet = "{pacs.aet}"
retry_first_s = 0.5
"""
    )
    return NodeProgram(file, tmp_path)


def eventually(condition: Callable[[], object], timeout_s: float = 30) -> None:
    """Wait until a condition holds, and fail where it does not."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def instances_of(archive: LocalOrthanc, sop_class: str) -> list[str]:
    """Orthanc's identifiers of its instances of a SOP class."""
    client = Orthanc(archive.settings())
    found = []
    for study in client.studies():
        for series_id in study.series_ids:
            found += [
                instance
                for instance, header in client.headers(series_id).items()
                if header.SOPClassUID == sop_class
            ]
    return found
