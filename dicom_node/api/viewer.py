"""`GET /viewer`, and the files that its page asks for, each at `/` under its exact name."""

from __future__ import annotations

import mimetypes
import re
from html import escape
from typing import Annotated

from fastapi import APIRouter, FastAPI, Query, Request, Response
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from dicom_node.api.auth import is_admitted
from dicom_node.viewer.config import VIEWER_PATH, app_config
from dicom_node.viewer.files import InstalledFile, ViewerFiles
from dicom_node.web.page_route import to_sign_in
from dicom_node.web.words import Words

_STUDIES = re.compile(r"[0-9.]{1,64}(?:,[0-9.]{1,64}){0,7}")
_CONFIG = "app-config.js"
_MEDIA_TYPES = {".wasm": "application/wasm", ".js": "text/javascript", ".woff2": "font/woff2"}
_PAGE = """<!doctype html><html lang="{language}"><meta charset="utf-8"><title>{title}</title>
<body><h1>{title}</h1><p>{words}</p></body></html>
"""


def viewer_router(files: ViewerFiles, token: str | None, words: Words) -> APIRouter:
    """The viewer's page; who has not signed in is asked to, and then gets it."""
    router = APIRouter(tags=["viewer"])

    @router.get(VIEWER_PATH, response_class=Response)
    def viewer(request: Request, studies: Annotated[str, Query(alias="StudyInstanceUIDs")] = "") -> Response:
        """OHIF with the study (or several, separated by commas) that `StudyInstanceUIDs` names."""
        if not is_admitted(request, token):
            return to_sign_in(request)
        if not _STUDIES.fullmatch(studies):
            return _page(400, words, "unnamed")
        index = files.index()
        if index is None:
            return _page(503, words, "absent")
        return Response(
            index.html,
            media_type="text/html",
            headers={
                "Content-Security-Policy": index.policy,
                "Cache-Control": "no-store",
                "Referrer-Policy": "no-referrer",
                "X-Content-Type-Options": "nosniff",
            },
        )

    return router


def add_viewer_files(app: FastAPI, files: ViewerFiles) -> None:
    """Serve the files; they are the package's own, hold nothing of a patient and ask for no token."""
    app.router.routes.append(_ExactNames(files))


def _page(status: int, words: Words, key: str) -> Response:
    title, sentence = (escape(words(f"viewer.{key}{part}")) for part in ("_title", ""))
    content = _PAGE.format(language=words.language, title=title, words=sentence)
    headers = {"Content-Security-Policy": "default-src 'none'", "Cache-Control": "no-store"}
    return Response(content, status_code=status, media_type="text/html", headers=headers)


class _ExactNames(BaseRoute):
    """Matches a path that is the name of an installed file, and no other: unknown paths stay unknown."""

    path = "/{viewer file}"  # for the log

    def __init__(self, files: ViewerFiles) -> None:
        self._files = files
        self._static = StaticFiles(directory=files.folder, check_dir=False)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] != "http":
            return Match.NONE, {}
        name = scope["path"].removeprefix("/")
        file = self._files.find(name)
        if file is None and (name != _CONFIG or self._files.index() is None):
            return Match.NONE, {}
        return Match.FULL, {"viewer_file": file, "route": self}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in {"GET", "HEAD"}:
            raise HTTPException(405, headers={"Allow": "GET, HEAD"})
        file = scope["viewer_file"]
        response = self._file(file, scope) if file is not None else _config()
        response.headers["X-Content-Type-Options"] = "nosniff"
        await response(scope, receive, send)

    def _file(self, file: InstalledFile, scope: Scope) -> Response:
        """The file, compressed where it lies so and the caller takes that; 304 where the caller has it."""
        compressed = file.path.with_name(f"{file.path.name}.gz")
        accepted = b"gzip" in dict(scope["headers"]).get(b"accept-encoding", b"")
        path = compressed if accepted and compressed.is_file() else file.path
        response = self._static.file_response(path, path.stat(), scope)
        kind = _MEDIA_TYPES.get(file.path.suffix) or mimetypes.guess_type(file.path.name)[0]
        response.headers["Content-Type"] = kind or "application/octet-stream"
        response.headers["Vary"] = "Accept-Encoding"
        if path is compressed:
            response.headers["Content-Encoding"] = "gzip"
        response.headers["Cache-Control"] = (
            "public, max-age=31536000, immutable" if file.immutable else "no-cache"
        )
        return response


def _config() -> Response:
    return Response(app_config(), media_type="text/javascript", headers={"Cache-Control": "no-cache"})
