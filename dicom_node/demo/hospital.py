"""The processes of the demonstration: the node's Orthanc with the trigger plug-in, the node, the PACS."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import httpx
import tomli_w

from dicom_node.cstore import Peer
from dicom_node.destination_settings import DestinationSettings
from dicom_node.errors import NodeError
from dicom_node.local_orthanc import LocalOrthanc, require_free_port
from dicom_node.orthanc import Orthanc
from dicom_node.settings import Settings

STABLE_AGE_S = 3
PACS = "pacs"
_PREFIX = "DICOM_NODE_"
_READY_S = 120
_STOP_S = 30


class HospitalError(NodeError):
    """The node's process ended, or did not become ready."""


@dataclass(frozen=True)
class Places:
    """Where everything listens, on loopback."""

    node_http: int
    archive_http: int
    archive_dicom: int
    pacs_http: int
    pacs_dicom: int
    pacs_aet: str


class Hospital:
    """Everything but the scanner; a context manager that stops all it started, in the reverse order."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._settings = settings
        self._folder = folder
        self._places = choose_places(settings)
        self._stack = ExitStack()
        self._node: subprocess.Popen[bytes] | None = None
        places = self._places
        self.node_log = folder / "node.log"
        self._archive = LocalOrthanc(
            folder / "archive",
            http_port=places.archive_http,
            dicom_port=places.archive_dicom,
            aet=settings.orthanc.aet,
            node_url=self.node_url,
            stable_age_s=STABLE_AGE_S,
        )
        self._pacs = LocalOrthanc(
            folder / "pacs-orthanc",
            http_port=places.pacs_http,
            dicom_port=places.pacs_dicom,
            aet=places.pacs_aet,
            name="hospital-pacs",
        )

    @property
    def node_url(self) -> str:
        """The node's HTTP."""
        return f"http://127.0.0.1:{self._places.node_http}"

    @property
    def archive_peer(self) -> Peer:
        """Where the scanner sends."""
        return Peer("127.0.0.1", self._places.archive_dicom, self._settings.orthanc.aet)

    def pacs(self) -> Orthanc:
        """A look into the PACS."""
        return Orthanc(self._pacs.settings())

    def __enter__(self) -> Self:
        """Check every port, then start PACS, archive and node, and wait until the node takes studies."""
        _require_free(self._places)
        with self._stack:
            for orthanc in (self._pacs, self._archive):
                self._stack.callback(orthanc.stop)
                orthanc.start()
            self._stack.callback(self._stop_node)
            self._start_node()
            self._wait_until_ready()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def require_node(self) -> None:
        """Check that the node lives.

        Raises
        ------
        HospitalError
            Naming its log.
        """
        if self._node is None or self._node.poll() is not None:
            raise HospitalError(f"the node ended: {self._last_words()} (see {self.node_log})")

    def _last_words(self) -> str:
        lines = self.node_log.read_text(encoding="utf-8", errors="replace").splitlines()
        return lines[-1] if lines else "it said nothing"

    def _start_node(self) -> None:
        file = self._folder / "node.toml"
        file.write_text(tomli_w.dumps(self._node_settings()), encoding="utf-8")
        # What the environment says of settings is in the file already; there it must not win over it.
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("DICOM_NODE_")
        }
        with self.node_log.open("ab") as log:
            self._node = subprocess.Popen(  # noqa: S603 - this program and our own file
                [sys.executable, "-m", "dicom_node.cli", "run", "--settings", str(file)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C at the terminal is for the demonstration, which stops the node in its turn.
                start_new_session=True,
            )

    def _node_settings(self) -> dict[str, object]:
        """A settings file without secrets: passwords are named by their files."""
        settings, places = self._settings, self._places
        orthanc = self._archive.settings()
        destination = DestinationSettings(
            name=PACS, host="127.0.0.1", port=places.pacs_dicom, aet=places.pacs_aet, forward_originals=True
        )
        worker = settings.worker.model_dump(mode="json", exclude_none=True)
        return {
            "data_folder": str(self._folder / "node"),
            "calling_aet": settings.calling_aet,
            "log_level": settings.log_level,
            "http": {"host": "127.0.0.1", "port": places.node_http},
            "orthanc": {
                "url": orthanc.url,
                "username": orthanc.username,
                "password_file": str(self._archive.folder / "password"),
                "aet": orthanc.aet,
                "dicom_port": orthanc.dicom_port,
            },
            "intake": settings.intake.model_dump(mode="json", exclude_none=True),
            "worker": {**worker, "bundles_folder": str(settings.worker.bundles_folder.resolve())},
            "report": settings.report.model_dump(mode="json", exclude_none=True),
            "destinations": [destination.model_dump(mode="json", exclude_none=True)],
        }

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _READY_S
        while time.monotonic() < deadline:
            self.require_node()
            if self._is_ready():
                return
            time.sleep(0.1)
        raise HospitalError(f"the node was not ready within {_READY_S} s: see {self.node_log}")

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.node_url}/ready", timeout=5).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False  # not listening yet

    def _stop_node(self) -> None:
        if self._node is None or self._node.poll() is not None:
            return
        self._node.send_signal(signal.SIGTERM)
        try:
            self._node.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._node.kill()
            self._node.wait()


def choose_places(settings: Settings) -> Places:
    """The ports that the settings name; free ones for the others."""
    http, orthanc = settings.http, settings.orthanc
    pacs = next(
        (
            item
            for item in settings.destinations
            if isinstance(item, DestinationSettings) and item.name == PACS
        ),
        None,
    )
    free = free_ports(5)
    return Places(
        node_http=http.port if "port" in http.model_fields_set else free[0],
        archive_http=(urlsplit(orthanc.url).port or free[1])
        if "url" in orthanc.model_fields_set
        else free[1],
        archive_dicom=orthanc.dicom_port if "dicom_port" in orthanc.model_fields_set else free[2],
        pacs_http=free[3],
        pacs_dicom=pacs.port if pacs is not None else free[4],
        pacs_aet=pacs.aet if pacs is not None else "HOSPITAL-PACS",
    )


def free_ports(count: int) -> list[int]:
    """Distinct ports of this machine that nothing listens on."""
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_STREAM) for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("", 0))
        return [int(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()


def _require_free(places: Places) -> None:
    require_free_port(places.node_http, "the node's HTTP (setting http.port)", "127.0.0.1")
    require_free_port(places.archive_http, "Orthanc's HTTP (setting orthanc.url)")
    require_free_port(places.archive_dicom, "Orthanc's DICOM (setting orthanc.dicom_port)")
    require_free_port(places.pacs_dicom, "the PACS' DICOM (setting destinations)")
