"""An Orthanc process of this machine, from `orthanc_config/orthanc.json`: for `run`, demo and tests."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import SecretStr

from dicom_node.errors import ArchiveError, OrthancFailed, PortTaken
from dicom_node.orthanc import Orthanc
from dicom_node.settings import OrthancSettings

_CONFIGURATION = Path(__file__).resolve().parent.parent / "orthanc_config"
_PLUGINS = "/usr/share/orthanc/plugins"
_USERNAME = "node"


class LocalOrthanc:
    """One Orthanc: `start()`, `stop()`, or as a context manager.

    Parameters
    ----------
    folder
        Holds all that it writes: `storage/`, `orthanc.log`, `password` (made at the first start, mode 0600).
    http_port, dicom_port, aet
        Where it listens (on every interface: Orthanc has no bind option) and as whom.
    node_url, node_token_file
        The node that the plug-in tells of stable studies; the plug-in is off without a URL.
    stable_age_s
        Seconds without a new image after which a study counts as complete.
    """

    def __init__(
        self,
        folder: Path,
        *,
        http_port: int,
        dicom_port: int,
        aet: str = "DICOM-NODE",
        node_url: str | None = None,
        node_token_file: Path | None = None,
        stable_age_s: int = 3,
        name: str = "dicom-node",
    ) -> None:
        self.folder = folder
        self.http_port = http_port
        self.dicom_port = dicom_port
        self.aet = aet
        self._node_url = node_url
        self._node_token_file = node_token_file
        self._stable_age_s = stable_age_s
        self._name = name
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log_file(self) -> Path:
        """What Orthanc says."""
        return self.folder / "orthanc.log"

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def settings(self) -> OrthancSettings:
        """How to reach it."""
        return OrthancSettings(
            url=f"http://127.0.0.1:{self.http_port}",
            username=_USERNAME,
            password=SecretStr(self._password()),
            aet=self.aet,
            dicom_host="127.0.0.1",
            dicom_port=self.dicom_port,
        )

    def start(self, timeout_s: float = 60) -> None:
        """Start it and wait until it answers.

        Raises
        ------
        PortTaken
            Before anything is started, if one of its ports is in use.
        OrthancFailed
            If Orthanc is not installed, ends, or does not answer in time.
        """
        require_free_port(self.http_port, "Orthanc's HTTP")
        require_free_port(self.dicom_port, "Orthanc's DICOM")
        binary = find_orthanc()
        storage = self.folder / "storage"
        storage.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, **self._environment(storage)}
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - a fixed binary and our own file
                [*_ends_with_us(), binary, str(_CONFIGURATION / "orthanc.json")],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C at the terminal reaches the node, which stops Orthanc after itself.
                start_new_session=True,
            )
        self._wait_until_ready(timeout_s)

    def stop(self, timeout_s: float = 20) -> None:
        """Ask it to end, and end it if it does not."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _environment(self, storage: Path) -> dict[str, str]:
        return {
            "ORTHANC_NAME": self._name,
            "ORTHANC_STORAGE": str(storage.resolve()),
            "ORTHANC_PLUGINS": _PLUGINS,
            "ORTHANC_HTTP_PORT": str(self.http_port),
            "ORTHANC_DICOM_PORT": str(self.dicom_port),
            "ORTHANC_AET": self.aet,
            "ORTHANC_USERNAME": _USERNAME,
            "ORTHANC_PASSWORD": self._password(),
            "ORTHANC_STABLE_AGE": str(self._stable_age_s),
            "ORTHANC_TRIGGER": str(_CONFIGURATION / "trigger.py"),
            "DICOM_NODE_URL": self._node_url or "",
            "DICOM_NODE_TOKEN_FILE": str(self._node_token_file.resolve()) if self._node_token_file else "",
            # Without it a C-STORE of 300 slices waits 40 ms for an acknowledgement at each of them.
            "TCP_NODELAY": "1",
            # Orthanc's Python has its own packages; those of the node's environment are not for it.
            "PYTHONPATH": "",
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def _password(self) -> str:
        file = self.folder / "password"
        if not file.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                stream.write(secrets.token_hex(24))
        return file.read_text(encoding="utf-8").strip()

    def _wait_until_ready(self, timeout_s: float) -> None:
        client = Orthanc(self.settings())
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if not self.running:
                raise OrthancFailed(f"Orthanc ended while starting: see {self.log_file}")
            try:
                client.system()
            except ArchiveError:
                time.sleep(0.05)
                continue
            return
        self.stop()
        raise OrthancFailed(f"Orthanc did not answer within {timeout_s:g} s: see {self.log_file}")


def _ends_with_us() -> list[str]:
    """Words before a command that let the kernel end it when this process is killed: its ports get free."""
    setpriv = shutil.which("setpriv")  # of util-linux, which every Debian and Ubuntu has
    return [setpriv, "--pdeathsig", "KILL"] if setpriv is not None else []


def find_orthanc() -> str:
    """Path of the Orthanc program.

    Raises
    ------
    OrthancFailed
        If it is not installed.
    """
    # Debian installs it into /usr/sbin, which is not on everybody's PATH.
    path = os.environ.get("PATH", os.defpath) + os.pathsep + "/usr/sbin"
    binary = shutil.which("Orthanc", path=path)
    if binary is None:
        raise OrthancFailed(
            "Orthanc is not installed: apt-get install orthanc orthanc-python orthanc-dicomweb"
        )
    return binary


def require_free_port(port: int, purpose: str, host: str = "0.0.0.0") -> None:  # noqa: S104 - as Orthanc does
    """Check that `port` can be listened on.

    Raises
    ------
    PortTaken
        Naming the port and what it is for.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # A port in TIME_WAIT after an earlier run is free for a new listener.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            words = (
                "is in use by another program: stop it or choose another port"
                if error.errno == errno.EADDRINUSE
                else f"cannot be opened on {host}: {error.strerror}"
            )
            raise PortTaken(f"port {port} for {purpose} {words}") from error
