"""Orthanc's Python plug-in: tells the node that a study is stable. Standard library only (Orthanc's Python).

A hint and no more: the node also follows `/changes` and compares `/studies` with its own record, so that a
hint that cannot be handed over is logged and dropped. The callback only puts an identifier into a bounded
queue; a daemon thread sends it with a short timeout. A node that is away or hangs therefore never delays
Orthanc's other events, nor its shutdown.

Configuration, in Orthanc's own file: `"DicomNode": {"Url": "http://node:8000", "TokenFile": "/run/token"}`;
an empty URL switches it off.
"""

from __future__ import annotations

import json
import queue
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

QUEUE_LENGTH = 1000
TIMEOUT_S = 2.0
PATH = "/intake/stable-study"


class Trigger:
    """Hands identifiers of stable studies over to the node, without ever blocking the caller.

    Parameters
    ----------
    url
        The node's base URL.
    token_file
        Holds the bearer token that the node asks for, "" where it asks for none; read for each hint, so that
        it may change.
    log
        Called with one line when a hint is dropped; again only after one was handed over.
    """

    def __init__(self, url: str, token_file: str, log: Callable[[str], Any]) -> None:
        self._url = url.rstrip("/") + PATH
        self._token_file = token_file
        self._log = log
        self._failing = False
        self._waiting: queue.Queue[str] = queue.Queue(maxsize=QUEUE_LENGTH)
        # No proxy from the environment: the node is a neighbour.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def start(self) -> None:
        """Start the sending thread; a daemon, so that it never keeps the process alive."""
        threading.Thread(target=self._run, name="dicom-node-trigger", daemon=True).start()

    def stable_study(self, orthanc_id: str) -> None:
        """Queue a hint; returns at once, a full queue drops it."""
        try:
            self._waiting.put_nowait(orthanc_id)
        except queue.Full:
            self._dropped("too many hints are waiting")

    def _run(self) -> None:
        while True:
            orthanc_id = self._waiting.get()
            try:
                self._send(orthanc_id)
                self._failing = False
            except Exception as error:  # noqa: BLE001 - the thread must outlive whatever one hint meets
                self._dropped(f"{type(error).__name__}")

    def _send(self, orthanc_id: str) -> None:
        request = urllib.request.Request(  # noqa: S310 - the administrator's own URL
            self._url,
            data=json.dumps({"orthanc_id": orthanc_id}).encode(),
            headers={"Content-Type": "application/json"},
            method="POST",
        )
        if self._token_file:
            token = Path(self._token_file).read_text(encoding="utf-8").strip()
            request.add_header("Authorization", f"Bearer {token}")
        with self._opener.open(request, timeout=TIMEOUT_S) as response:
            response.read()

    def _dropped(self, why: str) -> None:
        if not self._failing:
            self._failing = True
            self._log(f"dicom-node: hint not handed over ({why}); the node finds the study by itself")


def install(orthanc: Any) -> Trigger | None:
    """Register with Orthanc, whose plug-in module is given; None where no node is named."""
    section = json.loads(orthanc.GetConfiguration()).get("DicomNode", {})
    url = section.get("Url")
    if not url:
        return None
    trigger = Trigger(url, section.get("TokenFile", ""), orthanc.LogWarning)

    def on_change(change: int, _level: int, resource: str) -> None:
        if change == orthanc.ChangeType.STABLE_STUDY:
            trigger.stable_study(resource)

    orthanc.RegisterOnChangeCallback(on_change)
    trigger.start()
    return trigger


if __name__ != "__main__":
    try:
        import orthanc
    except ImportError:
        # Imported outside Orthanc, as tests do.
        orthanc = None
    if orthanc is not None:
        install(orthanc)
