"""`GET /dicom-web/...`: the archive's DICOMweb for the viewer: read only, one study at a time, streamed."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import httpx
from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from dicom_node.api.errors import ApiError
from dicom_node.api.linger import linger
from dicom_node.errors import ArchiveMissing, ArchiveRefused, ArchiveUnavailable
from dicom_node.orthanc_dicomweb import OrthancDicomWeb
from dicom_node.settings import OrthancSettings
from dicom_node.viewer.config import DICOMWEB_ROOT
from dicom_node.viewer.dicomweb_answers import for_viewer
from dicom_node.viewer.dicomweb_requests import (
    DicomWebRequest,
    UnfitQuery,
    UnknownResource,
    allowed_request,
)

_JSON = "application/dicom+json"
_PRINTABLE = re.compile(r"[\x20-\x7e]{1,1024}")
_HOST = re.compile(r"[A-Za-z0-9.:\[\]_-]{1,255}")
# What a viewer reads. A page or a script, which an object may hold too, would be one of this origin.
_BYTE_TYPES = re.compile(
    r"(?:multipart/related|application/dicom|application/octet-stream|image/(?:jpeg|png|gif|jp2|jls|jphc))\b"
)
_GUARDS = {
    # Pixels and names of patients stay out of the disk caches of browsers and proxies.
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def dicomweb_router(settings: OrthancSettings) -> APIRouter:
    """The proxy to one archive; it closes its connections with the application."""
    archive = OrthancDicomWeb(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await archive.close()

    router = APIRouter(tags=["viewer"], lifespan=lifespan)

    async def answered(
        request: Request, asked: Annotated[DicomWebRequest, Depends(_asked)]
    ) -> AsyncIterator[httpx.Response]:
        """Orthanc's answer, open until ours is sent or the caller is gone."""
        accept = _JSON if asked.is_json else _accept(request)
        caller = (request.url.scheme, _host(request))
        try:
            async with archive.get(asked.path, asked.query, accept=accept, caller=caller) as response:
                yield response
        except ArchiveMissing:
            raise ApiError(404, "not_found", "The archive does not have it.") from None
        except ArchiveRefused:
            raise ApiError(400, "invalid_request", "The archive does not take this request.") from None
        except ArchiveUnavailable:
            raise ApiError(503, "archive_unavailable", "The archive does not answer.") from None

    @router.get(f"{DICOMWEB_ROOT}/{{resource:path}}", response_class=Response)
    async def dicomweb(
        asked: Annotated[DicomWebRequest, Depends(_asked)],
        answer: httpx.Response = Depends(answered),  # noqa: B008 - a local name, which no annotation can hold
    ) -> Response:
        """QIDO-RS and WADO-RS (PS3.18 10.6, 10.4): a study's series, metadata, frames, bulk data, objects."""
        if asked.is_json:
            return await _json_response(asked, answer)
        media_type = answer.headers.get("content-type", "")
        if not _BYTE_TYPES.match(media_type):
            raise ApiError(406, "not_acceptable", "The archive's answer is of a kind that no viewer reads.")
        length = answer.headers.get("content-length", "")
        headers = {**_GUARDS, **({"Content-Length": length} if length.isdigit() else {})}
        response = StreamingResponse(answer.aiter_raw(), headers=headers)
        response.headers["Content-Type"] = media_type
        return response

    @router.api_route(
        f"{DICOMWEB_ROOT}/{{resource:path}}",
        methods=["POST", "PUT", "PATCH", "DELETE"],
        include_in_schema=False,
    )
    async def read_only(request: Request) -> Response:
        """Nothing is stored or deleted this way."""
        await linger(request)
        raise ApiError(405, "method_not_allowed", "This address is for reading only.", {"Allow": "GET"})

    return router


async def _asked(resource: str, request: Request) -> DicomWebRequest:
    """The request, if it is one that is allowed; errors name nothing of what the caller sent."""
    try:
        return allowed_request(resource, request.query_params.multi_items())
    except UnknownResource:
        raise ApiError(404, "not_found", "There is nothing here.") from None
    except UnfitQuery as error:
        raise ApiError(400, "invalid_request", str(error)) from None


def _accept(request: Request) -> str:
    accept = request.headers.get("accept", "*/*")
    return accept if _PRINTABLE.fullmatch(accept) else "*/*"


def _host(request: Request) -> str:
    """The node's name and port as the caller wrote them, if they are of the form of a name."""
    host = request.headers.get("host", "")
    return host if _HOST.fullmatch(host) else "localhost"


async def _json_response(asked: DicomWebRequest, answer: httpx.Response) -> Response:
    try:
        body = await answer.aread()
        content = await run_in_threadpool(for_viewer, body, asked.answer)
    except httpx.HTTPError:
        raise ApiError(503, "archive_unavailable", "The archive broke off while answering.") from None
    except (ValueError, AttributeError, TypeError):
        raise ApiError(502, "archive_unavailable", "The archive's answer is not DICOM JSON.") from None
    return Response(content, media_type=_JSON, headers=_GUARDS)
