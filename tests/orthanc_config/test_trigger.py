"""The plug-in inside a real Orthanc: the hint arrives, and a node that is away or hangs delays nothing."""

from __future__ import annotations

import ast
import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from dicom_node.local_orthanc import LocalOrthanc
from dicom_node.orthanc import Orthanc
from orthanc_config import trigger
from orthanc_config.trigger import Trigger
from tests.dicom_node.conftest import eventually
from tests.dicom_node.studies import send, study_uid, write_chest

MakeOrthanc = Callable[..., LocalOrthanc]


class Listener(BaseHTTPRequestHandler):
    """Records what is posted."""

    posted: list[tuple[str, str | None, dict[str, str]]]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.posted.append((self.path, self.headers["Authorization"], body))
        self.send_response(202)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def listening() -> Iterator[tuple[str, list[tuple[str, str | None, dict[str, str]]]]]:
    posted: list[tuple[str, str | None, dict[str, str]]] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Recording", (Listener,), {"posted": posted}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", posted
    finally:
        server.shutdown()
        server.server_close()


def _stable_studies(orthanc: LocalOrthanc) -> int:
    changes = Orthanc(orthanc.settings()).changes(0).changes
    return sum(change.kind == "StableStudy" for change in changes)


def test_stable_study_is_told_with_the_token(make_orthanc: MakeOrthanc, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("open-sesame\n")
    with listening() as (url, posted):
        orthanc = make_orthanc(node_url=url, node_token_file=token)
        send(write_chest(tmp_path, "told", slices=2), orthanc)
        eventually(lambda: posted)
    orthanc_id = Orthanc(orthanc.settings()).study_id(study_uid("told"))
    assert posted == [("/intake/stable-study", "Bearer open-sesame", {"orthanc_id": orthanc_id})]


def test_node_that_hangs_delays_no_event_and_no_shutdown(make_orthanc: MakeOrthanc, tmp_path: Path) -> None:
    quiet = make_orthanc("quiet")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        hanging = make_orthanc("hanging", node_url=f"http://127.0.0.1:{silent.getsockname()[1]}")
        for number in range(5):
            for orthanc in (quiet, hanging):
                send(write_chest(tmp_path, f"{number}", slices=1), orthanc)
        started = time.monotonic()
        eventually(lambda: _stable_studies(quiet) == 5)
        eventually(lambda: _stable_studies(hanging) == 5)
        # Five hints of two seconds each, were they sent from the callback.
        assert time.monotonic() - started < 8
        assert _seconds_to_stop(hanging) < _seconds_to_stop(quiet) + 3
        assert "hint not handed over" in hanging.log_file.read_text()


def test_node_that_is_away_is_said_once(make_orthanc: MakeOrthanc, tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    orthanc = make_orthanc(node_url=url)
    for number in range(3):
        send(write_chest(tmp_path, f"{number}", slices=1), orthanc)
    eventually(lambda: _stable_studies(orthanc) == 3)
    eventually(lambda: "hint not handed over" in orthanc.log_file.read_text())
    time.sleep(0.5)
    assert orthanc.log_file.read_text().count("hint not handed over") == 1


def test_full_queue_drops_the_hint_at_once() -> None:
    said: list[str] = []
    silent = Trigger("http://127.0.0.1:9", "", said.append)  # never started: nothing empties the queue
    started = time.monotonic()
    for number in range(trigger.QUEUE_LENGTH + 5):
        silent.stable_study(str(number))
    assert time.monotonic() - started < 1
    assert said == [
        "dicom-node: hint not handed over (too many hints are waiting); the node finds the study by itself"
    ]


def test_plug_in_needs_the_standard_library_only() -> None:
    """It runs in Orthanc's own Python (3.11 in Debian 12), not in ours."""
    tree = ast.parse(Path(trigger.__file__).read_text(), feature_version=(3, 11))
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").partition(".")[0])
    assert imported - {"orthanc"} <= sys.stdlib_module_names


def _seconds_to_stop(orthanc: LocalOrthanc) -> float:
    started = time.monotonic()
    orthanc.stop()
    return time.monotonic() - started
