"""Signing in with the node's token, and the files that every page needs; open to all."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse

from dicom_node.api.auth import is_token
from dicom_node.api.session import COOKIE, new_session
from dicom_node.web.assets import assets
from dicom_node.web.page_route import SIGN_IN, not_found, page_route
from dicom_node.web.pages import Pages

_A_YEAR = "public, max-age=31536000, immutable"


def sign_in_router(pages: Pages) -> APIRouter:
    """`/sign-in`, `/sign-out` and `/web/...`."""
    router = APIRouter(route_class=page_route(pages, guarded=False), include_in_schema=False)
    token = pages.settings.http.bearer_token()
    served = {item.address: item for item in assets().values()}

    @router.get(SIGN_IN)
    def form(next: str = "/") -> Response:  # noqa: A002 - the name of the query parameter
        if token is None:
            return RedirectResponse("/", 303)
        return pages.render("sign_in.html", next=_own_path(next), wrong=False)

    @router.post(SIGN_IN)
    def sign_in(
        request: Request,
        given: Annotated[str, Form(alias="token")] = "",
        wanted: Annotated[str, Form(alias="next")] = "/",
    ) -> Response:
        if token is None or not is_token(given.strip(), token):
            return pages.render("sign_in.html", status=403, next=_own_path(wanted), wrong=True)
        response = RedirectResponse(_own_path(wanted), 303)
        # Lax, so that a link in a worklist opens the study; what changes something asks for our own page.
        response.set_cookie(
            COOKIE, new_session(token), httponly=True, samesite="lax", secure=request.url.scheme == "https"
        )
        return response

    @router.post("/sign-out")
    def sign_out() -> Response:
        response = RedirectResponse(SIGN_IN, 303)
        response.delete_cookie(COOKIE)
        return response

    @router.get("/web/{digest}/{name}")
    def asset(request: Request) -> Response:
        item = served.get(request.url.path)
        if item is None:
            raise not_found()
        return Response(item.content, media_type=item.media_type, headers={"Cache-Control": _A_YEAR})

    return router


def _own_path(wanted: str) -> str:
    """The path if it is one of this host, else the first page: nobody is sent elsewhere after signing in."""
    own = wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and not urlsplit(wanted).netloc
    return wanted if own and wanted.isprintable() else "/"
