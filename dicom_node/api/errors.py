"""Every error of the HTTP server as `code: sentence`; on the prediction routes in the shape of their answer.

Nothing of an exception's text reaches a caller or the log: it may hold values of a DICOM tag. A fault gets an
incident id, which the log line with its type and frames carries too.
"""

from __future__ import annotations

import logging
import time
import uuid
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dicom_node.answer import failure_answer
from inference.errors import Refusal, RefusalCode

log = logging.getLogger(__name__)

PREDICTION_PATHS = frozenset({"/predict", "/predict_nifti"})
_STATUS_OF_REFUSAL: dict[str, int] = {
    RefusalCode.NOT_A_ZIP: 400,
    RefusalCode.NOT_A_NIFTI: 400,
    RefusalCode.TOO_LARGE: 413,
    RefusalCode.NO_SPACE: 507,
}
_WORDS_OF_STATUS = {
    404: ("not_found", "There is nothing here."),
    405: ("method_not_allowed", "This address does not take this method."),
}


class ApiError(Exception):
    """An answer other than success: HTTP status, a stable word and a sentence for the caller."""

    def __init__(self, status: int, code: str, sentence: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(f"{code}: {sentence}")
        self.status = status
        self.code = code
        self.sentence = sentence
        self.headers = headers


def status_of_refusal(code: str) -> int:
    """HTTP status of a refused upload: 400 its kind, 413 its size, 422 what is in it, 507 no room for it."""
    return _STATUS_OF_REFUSAL.get(code, 422)


def install_error_handlers(app: FastAPI) -> None:
    """Give every way to fail its shape."""

    @app.exception_handler(ApiError)
    async def _api_error(request: Request, error: ApiError) -> JSONResponse:
        return error_response(request.scope, error.status, error.code, error.sentence, error.headers)

    @app.exception_handler(Refusal)
    async def _refusal(request: Request, refusal: Refusal) -> JSONResponse:
        status = status_of_refusal(refusal.code)
        return error_response(request.scope, status, refusal.code.value, refusal.sentence)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> JSONResponse:
        code, sentence = _WORDS_OF_STATUS.get(
            error.status_code, ("invalid_request", "The request is not valid.")
        )
        headers = dict(error.headers) if error.headers else None
        return error_response(request.scope, error.status_code, code, sentence, headers)

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        # Where it is wrong, not what was sent.
        names = ([part for part in item["loc"] if isinstance(part, str)] for item in error.errors())
        places = ", ".join(sorted({name[-1] for name in names if name}))
        return error_response(request.scope, 400, "invalid_request", f"These values are not valid: {places}.")

    app.add_middleware(FaultBarrier)


class FaultBarrier:
    """ASGI middleware: stamps the time of arrival, and turns any exception into an answer and one log line.

    FastAPI's own handler of `Exception` answers and raises it again for the server to log with its text.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["arrived_at"] = time.perf_counter()
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except ClientDisconnect:
            log.info("a caller went away", extra={"path": _route(scope)})
        except Exception:
            incident = uuid.uuid4().hex[:12]
            log.exception("fault", extra={"incident": incident, "path": _route(scope)})
            if started:  # too late for another answer: the connection must break
                raise ConnectionAbortedError(f"incident {incident}") from None
            sentence = f"The node failed; its log says why under incident {incident}."
            await error_response(scope, 500, "fault", sentence)(scope, receive, send)


def seconds_since_arrival(scope: Scope) -> float:
    """Seconds since the request's first byte of body could be read."""
    return time.perf_counter() - float(scope["arrived_at"])


def _route(scope: Scope) -> str:
    """The route's pattern, without what a caller filled in."""
    return str(getattr(scope.get("route"), "path", ""))


def error_response(
    scope: Scope, status: int, code: str, sentence: str, headers: dict[str, str] | None = None
) -> JSONResponse:
    """`code: sentence` in the shape of the route."""
    content: dict[str, Any] = {"error": f"{code}: {sentence}"}
    if scope["path"] in PREDICTION_PATHS:
        content = failure_answer(code, sentence, seconds_since_arrival(scope))
    return JSONResponse(content, status_code=status, headers=headers)
