"""`POST /predict` and `POST /predict_nifti`: an upload goes the way of every study."""

from __future__ import annotations

import asyncio
import io
import uuid
import zipfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response

from dicom_node.answer import failure_answer, notice, success_answer
from dicom_node.api.errors import ApiError, seconds_since_arrival, status_of_refusal
from dicom_node.api.linger import linger
from dicom_node.api.receive import receive_file
from dicom_node.data_folder import DataFolder
from dicom_node.disk_space import refused_without_space
from dicom_node.ledger_records import Purpose, WorkRecord
from dicom_node.node import Node
from dicom_node.plan import WorkPlan
from dicom_node.settings import HttpSettings
from dicom_node.uploads import Upload, receive_nifti, receive_zip, remove_upload
from inference.errors import RefusalCode, UploadRefusal
from inference.study_result import StudyResult

_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            }
        },
    }
}
_SHORTEST_POLL_S, _LONGEST_POLL_S = 0.05, 0.5

StudyUID = Annotated[
    str | None, Query(pattern=r"^[0-9.]{1,64}$", description="Study Instance UID of the study to analyse")
]
Unpack = Callable[[Path, str, HttpSettings, Path], Upload]


def predict_router(node: Node) -> APIRouter:
    """The two prediction routes over a running node."""
    router = APIRouter(tags=["predict"])

    @router.post("/predict", openapi_extra=_FORM)
    async def predict(
        request: Request, details: bool = False, archive: bool = False, study_uid: StudyUID = None
    ) -> Response:
        """Analyse a ZIP of DICOM files; with `Accept: application/zip`, the DICOM objects come back.

        The upload is put into the archive only with `archive=true`. Of several studies in it, `study_uid`
        names the one to analyse; without it they are refused.
        """
        purpose: Purpose = "archive" if archive else "objects" if _wants_zip(request) else "answer"
        unpack = partial(_unpack_zip, study_uid)
        try:
            key = await _submit(request, node, unpack, RefusalCode.NOT_A_ZIP, purpose)
        except UploadRefusal as refusal:
            return _unreadable(request, refusal, details)
        try:
            return await _answer(request, node, key, details)
        finally:
            if purpose == "objects":
                await asyncio.to_thread(node.forget_objects, key)

    @router.post("/predict_nifti", openapi_extra=_FORM)
    async def predict_nifti(request: Request, details: bool = False) -> Response:
        """Analyse a NIfTI volume (`.nii`, `.nii.gz`); there is nothing to make DICOM objects of."""
        try:
            key = await _submit(request, node, receive_nifti, RefusalCode.NOT_A_NIFTI, "answer")
        except UploadRefusal as refusal:
            return _unreadable(request, refusal, details)
        return await _answer(request, node, key, details)

    return router


async def _submit(
    request: Request, node: Node, unpack: Unpack, wrong_kind: RefusalCode, purpose: Purpose
) -> str:
    """Receive and hand over: the work's key."""
    if not node.ready:
        await linger(request)
        raise ApiError(503, "no_worker", "The node is starting or stopping; send the upload again later.")
    http = node.settings.http
    folder = DataFolder(node.settings.data_folder).uploads / uuid.uuid4().hex
    with refused_without_space():
        folder.mkdir(mode=0o700, parents=True)
    try:
        received = folder / "received"
        filename = await _receive(request, received, http, wrong_kind)
    except BaseException:  # a caller who goes away leaves nothing behind either
        remove_upload(folder)
        raise

    def take_in() -> str:
        # In one thread, which goes on where the request is cancelled, and removes what it wrote itself.
        try:
            upload = unpack(received, filename, http, folder / "files")
            received.unlink()
            with refused_without_space():
                return node.submit_upload(replace(upload, folder=folder), purpose)
        except BaseException:
            remove_upload(folder)
            raise

    return await asyncio.to_thread(take_in)


async def _answer(request: Request, node: Node, key: str, details: bool) -> Response:
    """Wait for the work's end and answer."""
    record = await _ended(node, key, node.settings.http.predict_timeout_s)
    return await asyncio.to_thread(_respond, request, node, record, details)


async def _receive(request: Request, target: Path, http: HttpSettings, wrong_kind: RefusalCode) -> str:
    try:
        with refused_without_space():
            return await receive_file(request, target, http.max_upload_bytes, wrong_kind)
    except UploadRefusal:
        await linger(request)
        raise


async def _ended(node: Node, key: str, timeout_s: float) -> WorkRecord:
    """Poll the ledger instead of holding a thread for each caller."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    pause = _SHORTEST_POLL_S
    while True:
        record = await asyncio.to_thread(node.wait, key, 0)
        if record.ended:
            return record
        if loop.time() > deadline:
            raise ApiError(
                503,
                "no_worker",
                f"No answer within {timeout_s:g} s: the workers are busy. Send the upload again.",
            )
        await asyncio.sleep(pause)
        pause = min(_LONGEST_POLL_S, pause * 1.5)


def _unpack_zip(
    study_uid: str | None, received: Path, _filename: str, http: HttpSettings, folder: Path
) -> Upload:
    return replace(receive_zip(received, http, folder), study_uid=study_uid)


def _unreadable(request: Request, refusal: UploadRefusal, details: bool) -> JSONResponse:
    """The answer about an upload that never became work."""
    answer = failure_answer(
        refusal.code.value,
        refusal.sentence,
        seconds_since_arrival(request.scope),
        remedy=refusal.remedy,
        series=() if details else None,
    )
    return JSONResponse(answer, status_code=status_of_refusal(refusal.code))


def _respond(request: Request, node: Node, record: WorkRecord, details: bool) -> Response:
    if record.state == "refused" and record.code is not None:
        status = status_of_refusal(record.code)
        return JSONResponse(_refused(request, node, record, details), status_code=status)
    if record.state != "reported":
        incident = record.key[:12]
        raise ApiError(500, "fault", f"The analysis failed; the node's log says why under key {incident}.")
    result = _among_the_series_sent(node.result(record.key), node.ledger.plan(record.key))
    answer = success_answer(result, seconds_since_arrival(request.scope), details=details)
    headers = _headers(result)
    if not _wants_zip(request) or record.upload_name:
        return JSONResponse(answer, headers=headers)
    packed = _packed(node, record.key)
    return Response(packed, media_type="application/zip", headers=headers)


def _among_the_series_sent(result: StudyResult, plan: WorkPlan) -> StudyResult:
    """A result that was computed before says what became of the series that came with these images now."""
    warnings = tuple(dict.fromkeys((*result.warnings, *plan.warnings)))
    return replace(result, series=plan.decisions, warnings=warnings)


def _refused(request: Request, node: Node, record: WorkRecord, details: bool) -> dict[str, Any]:
    return failure_answer(
        record.code or "",
        record.sentence or "",
        seconds_since_arrival(request.scope),
        remedy=record.remedy,
        series=node.ledger.plan(record.key).decisions if details else None,
    )


def _headers(result: StudyResult) -> dict[str, str]:
    """The answer's keys are fixed, so that it is a demonstration is said beside them."""
    words = notice(result)
    return {"X-Demonstration": words} if words is not None else {}


def _wants_zip(request: Request) -> bool:
    """Whether a ZIP is asked for by name, and JSON is not preferred to it (RFC 9110, 12.5.1)."""
    weights = dict(map(_weighted, request.headers.get("accept", "").split(",")))
    wanted = weights.get("application/zip", 0.0)
    return wanted > 0 and wanted >= weights.get("application/json", 0.0)


def _weighted(accepted: str) -> tuple[str, float]:
    """A media range and its weight, 1 where none is given."""
    kind, *parameters = (part.strip().lower() for part in accepted.split(";"))
    weights = [part.removeprefix("q=") for part in parameters if part.startswith("q=")]
    try:
        return kind, float(weights[0]) if weights else 1.0
    except ValueError:
        return kind, 0.0


def _packed(node: Node, key: str) -> bytes:
    """The objects as a ZIP."""
    buffer = io.BytesIO()
    try:
        objects = node.objects(key)
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in objects:
                archive.write(path, path.name)
    except FileNotFoundError:
        objects = []
    if not objects:
        raise ApiError(
            503, "no_worker", "The objects went to another caller who sent the same images. Send them again."
        )
    return buffer.getvalue()
