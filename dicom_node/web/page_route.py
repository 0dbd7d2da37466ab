"""Routes that answer a browser: who may see them, headers that bind the browser, errors as pages.

The policy allows what this host serves and nothing else: no script or style within a page, no other host, no
frame around it (Content Security Policy Level 3).
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import quote

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from fastapi.routing import APIRoute
from sqlalchemy.exc import SQLAlchemyError

from dicom_node.api.auth import is_admitted, is_bearer
from dicom_node.api.same_origin import SAFE_METHODS, from_own_page
from dicom_node.errors import ArchiveError, ArchiveMissing, describe_fault
from dicom_node.ledger_database import database_words
from dicom_node.web.pages import Pages

log = logging.getLogger(__name__)

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self';"
    " img-src 'self' blob:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # without any, Origin would be null in our own forms
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
SIGN_IN = "/sign-in"

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class PageError(Exception):
    """A page that cannot be shown: HTTP status, and the key of its sentence with what is put into it."""

    def __init__(self, status: int, key: str, **values: object) -> None:
        super().__init__(key)
        self.status = status
        self.key = key
        self.values = values


def not_found() -> PageError:
    """What is asked for does not exist."""
    return PageError(404, "error.not_found")


def page_route(pages: Pages, *, guarded: bool = True) -> type[APIRoute]:
    """A class of routes; with `guarded` only for who signed in or presents the token."""
    token = pages.settings.http.bearer_token() if guarded else None

    class PageRoute(APIRoute):
        def get_route_handler(self) -> Handler:
            handle = super().get_route_handler()

            async def answer(request: Request) -> Response:
                response = _denied(pages, request, token)
                if response is None:
                    response = await _answered(pages, request, handle)
                response.headers.update(HEADERS)
                response.headers.setdefault("Cache-Control", "no-store")
                return response

            return answer

    return PageRoute


def _denied(pages: Pages, request: Request, token: str | None) -> Response | None:
    """The answer to a request that is not to be carried out."""
    if token is not None and is_bearer(request, token):
        return None
    if not is_admitted(request, token):
        return to_sign_in(request)
    # Even where nobody needs to sign in: a page of another site must not press our buttons.
    if request.method in SAFE_METHODS or from_own_page(request):
        return None
    return _error_page(pages, request, PageError(403, "error.foreign"))


def to_sign_in(request: Request) -> Response:
    """The answer to who has not signed in: the form to do so, and from there back to what was asked for."""
    if "hx-request" in request.headers:  # a part of a page cannot be a form to sign in
        return Response(status_code=401, headers={"HX-Refresh": "true"})
    wanted = "/"
    if request.method in SAFE_METHODS:
        query = request.url.query
        wanted = f"{request.url.path}?{query}" if query else request.url.path
    return RedirectResponse(f"{SIGN_IN}?next={quote(wanted)}", 303)


async def _answered(pages: Pages, request: Request, handle: Handler) -> Response:
    try:
        return await handle(request)
    except PageError as error:
        return _error_page(pages, request, error)
    except RequestValidationError:
        return _error_page(pages, request, PageError(400, "error.invalid"))
    except ArchiveError as error:
        return _error_page(pages, request, _of_archive(pages, error))
    except SQLAlchemyError as error:
        log.warning("the ledger cannot be used", extra={"fault": describe_fault(error)})
        return _error_page(pages, request, PageError(503, "error.ledger", problem=database_words(error)))
    except Exception:
        incident = uuid.uuid4().hex[:12]
        route = getattr(request.scope.get("route"), "path", "")
        log.exception("fault", extra={"incident": incident, "path": route})
        return _error_page(pages, request, PageError(500, "error.fault", incident=incident))


def _of_archive(pages: Pages, error: ArchiveError) -> PageError:
    if isinstance(error, ArchiveMissing):
        return PageError(404, "error.missing")
    return PageError(503, "error.archive", problem=pages.words.recorded(error).text)


def _error_page(pages: Pages, request: Request, error: PageError) -> Response:
    sentence = pages.words(error.key, **error.values)
    title = pages.words("error.not_found_title" if error.status == 404 else "error.title")
    if "hx-request" in request.headers or request.url.path.endswith(".png"):
        return Response(sentence, error.status, media_type="text/plain")
    return pages.render("error.html", status=error.status, title=title, sentence=sentence)
