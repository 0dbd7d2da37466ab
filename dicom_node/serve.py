"""A node in the foreground: started, served and stopped in order, whatever ends it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn

from dicom_node.api.app import create_app
from dicom_node.local_orthanc import LocalOrthanc, require_free_port
from dicom_node.node import Node
from dicom_node.settings import Settings
from dicom_node.signals import signals_as_interrupt

_GRACE_S = 5


def run_node(settings: Settings, *, with_orthanc: bool, say: Callable[[str], None]) -> None:
    """Run the node, and with `with_orthanc` its Orthanc, until SIGINT or SIGTERM; then stop what was started.

    `say` gets what a person needs to know: where to send, where to look.

    Raises
    ------
    dicom_node.errors.PortTaken
        Before anything is started, if a port is in use.
    """
    require_free_port(settings.http.port, "the node's HTTP (setting http.port)", settings.http.host)
    with ExitStack() as stack:
        stack.enter_context(suppress(KeyboardInterrupt))
        stack.enter_context(signals_as_interrupt())
        orthanc = local_orthanc(settings) if with_orthanc else None
        if orthanc is not None:
            require_free_port(orthanc.http_port, "Orthanc's HTTP (setting orthanc.url)")
            require_free_port(orthanc.dicom_port, "Orthanc's DICOM (setting orthanc.dicom_port)")
            stack.callback(orthanc.stop)
            settings = settings.model_copy(update={"orthanc": orthanc.settings()})
        node = Node(settings)
        stack.callback(node.stop)
        # Before Orthanc is started: that of another node may have this folder.
        node.claim()
        if orthanc is not None:
            orthanc.start()
        node.start()
        for line in _welcome(settings, with_orthanc=with_orthanc):
            say(line)
        config = uvicorn.Config(
            create_app(node),
            host=settings.http.host,
            port=settings.http.port,
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_GRACE_S,
        )
        uvicorn.Server(config).run()


def run_worker(settings: Settings, *, say: Callable[[str], None]) -> None:
    """Analyse what others take in, without HTTP and intake, until SIGINT or SIGTERM."""
    with ExitStack() as stack:
        stack.enter_context(suppress(KeyboardInterrupt))
        stack.enter_context(signals_as_interrupt())
        node = Node(settings, intake=False)
        stack.callback(node.stop)
        node.start()
        say("worker ready; stop it with Ctrl-C")
        threading.Event().wait()


def local_orthanc(settings: Settings) -> LocalOrthanc:
    """The Orthanc of `run --with-orthanc`: ports and AE title as set, everything in the data folder."""
    http = settings.http
    port = urlsplit(settings.orthanc.url).port or 8042
    host = f"[{http.host}]" if ":" in http.host else http.host
    return LocalOrthanc(
        settings.data_folder / "orthanc",
        http_port=port,
        dicom_port=settings.orthanc.dicom_port,
        aet=settings.orthanc.aet,
        node_url=f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{http.port}",  # noqa: S104 - compared, not bound
        node_token_file=_token_file(settings),
    )


def _token_file(settings: Settings) -> Path | None:
    """Where the plug-in reads the node's token; a token given by value is put into a file for it."""
    token = settings.http.bearer_token()
    if token is None or settings.http.token_file is not None:
        return settings.http.token_file
    file = settings.data_folder / "orthanc" / "node-token"
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
        stream.write(token)
    return file


def _welcome(settings: Settings, *, with_orthanc: bool) -> Iterator[str]:
    orthanc, http = settings.orthanc, settings.http
    yield f"send   C-STORE to {orthanc.aet} at {orthanc.dicom_host}:{orthanc.dicom_port}"
    yield f"look   http://{http.host}:{http.port}/   (pages; also /docs, /ready, /metrics)"
    if with_orthanc:
        password = settings.data_folder / "orthanc" / "password"
        yield f"look   {orthanc.url}   (Orthanc; user {orthanc.username}, password in {password})"
    for destination in settings.destinations:
        yield f"give   results to {destination}"
    yield "stop   Ctrl-C"
