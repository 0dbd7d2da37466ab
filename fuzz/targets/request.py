"""A request to the HTTP server, from its multipart body to the answer and the DICOM objects in it.

The node is a real one without archive: ledger, durable steps, reading processes, reports. Only the networks
are left out.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from functools import cache
from pathlib import Path

from starlette.types import ASGIApp

from dicom_node.api.app import create_app
from dicom_node.node import Node
from dicom_node.settings import HttpSettings, OrthancSettings, Settings
from fuzz.http_request import HttpResponse, parse_request, send
from fuzz.request_mutation import mutate_request
from fuzz.seeds import chest, requests
from fuzz.stand_in import PreparingAnalyser
from fuzz.target import Target

STATUSES = frozenset({200, 202, 204, 303, 304, 307, 400, 401, 403, 404, 405, 406, 413, 422})
"""All that a request may be answered with: none of 500 (a fault) and none of 503 (no answer in time)."""

WITHOUT_ARCHIVE = ("/ready", "/viewer", "/dicom-web")
"""What says 502 or 503 where there is no archive, or no viewer, behind the node."""

PREDICTION_KEYS = frozenset({
    "study_uid", "series_uid", "probability_of_pathology", "pathology", "most_dangerous_pathology_type",
    "processing_status", "time_of_processing",
})  # fmt: skip
_LIMITS = HttpSettings(
    max_upload_bytes=4 << 20, max_members=200, max_member_bytes=4 << 20, max_inflated_bytes=16 << 20,
    unpack_timeout_s=5, predict_timeout_s=60,
)  # fmt: skip


@cache
def _node() -> tuple[Node, ASGIApp]:
    settings = Settings(
        data_folder=Path(tempfile.mkdtemp(prefix="fuzz-node-")),
        http=_LIMITS,
        orthanc=OrthancSettings(url="http://127.0.0.1:9"),  # nobody answers
    )
    node = Node(settings, analyser=PreparingAnalyser(), intake=False)
    node.start()
    return node, create_app(node)


def stop_node() -> None:
    """Stop the node that answers, if one does, and remove its data."""
    if _node.cache_info().currsize:
        node, _ = _node()
        node.stop()
        shutil.rmtree(node.folder.root)
        _node.cache_clear()


def answer(content: bytes) -> str:
    """Send a request and judge the answer; its status and the code of its error."""
    try:
        request = parse_request(content)
    except ValueError:
        return "no request"
    if b"archive" in request.target.lower() or b"%" in request.target.partition(b"?")[2]:
        return "asks for the archive, which is not there"
    node, app = _node()
    response = send(app, request)
    path = request.target.partition(b"?")[0].decode()
    code = _judged(path, response)
    if any(node.folder.uploads.iterdir()):
        raise AssertionError("files of an upload are left")
    return f"{response.status} {code}".strip()


def _judged(path: str, response: HttpResponse) -> str:
    allowed = STATUSES | {502, 503} if path.startswith(WITHOUT_ARCHIVE) else STATUSES
    if response.starts != 1 or response.status not in allowed:
        raise AssertionError(f"status {response.status}: {response.body[:200]!r}")
    kind = response.headers.get(b"content-type", b"")
    if kind.startswith(b"application/zip"):
        return "objects"
    for name in _names():
        if name in response.body:
            raise AssertionError("the answer names the patient")
    if not kind.startswith(b"application/json") or not path.startswith("/predict"):
        return ""
    said = json.loads(response.body)
    error = str(said.get("error", ""))
    if path in {"/predict", "/predict_nifti"}:
        if set(said) - {"details"} != PREDICTION_KEYS | ({"error"} if response.status != 200 else set()):
            raise AssertionError("the keys of the answer are others than agreed")
        if (said["processing_status"] == "Success") != (response.status == 200):
            raise AssertionError("the answer contradicts its status")
    return error.partition(":")[0]


@cache
def _names() -> tuple[bytes, ...]:
    image = chest()[0]
    return str(image.PatientName).encode(), str(image.PatientID).encode()


TARGET = Target(
    name="request",
    run=answer,
    whole=answer,
    seeds=requests,
    mutate=mutate_request,
    allowance_bytes=768 << 20,
)
