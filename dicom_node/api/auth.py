"""Who may ask: the bearer of the configured token, who signed in with it, or, without one, this machine."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable

from fastapi import Request

from dicom_node.api.errors import ApiError
from dicom_node.api.linger import linger
from dicom_node.api.same_origin import SAFE_METHODS, from_own_page
from dicom_node.api.session import COOKIE, is_session

LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "[::1]", "::1")


def bearer_guard(token: str | None) -> Callable[[Request], Awaitable[None]]:
    """A dependency that lets the token's bearer pass, and everybody where there is no token.

    It looks at the headers only: nobody's upload is kept before it is known to be wanted. A browser sends the
    cookie of a session whoever made the request, so that what changes something must come from our own page.
    """

    async def guard(request: Request) -> None:
        if token is None or is_bearer(request, token):
            return
        signed_in = is_session(token, request.cookies.get(COOKIE))
        if not signed_in or not (request.method in SAFE_METHODS or from_own_page(request)):
            await linger(request)
            raise ApiError(
                401,
                "unauthorized",
                "Send the node's token as 'Authorization: Bearer ...'.",
                {"WWW-Authenticate": "Bearer"},
            )

    return guard


def is_admitted(request: Request, token: str | None) -> bool:
    """Whether the request may read: there is no token, it presents the token, or it is of who signed in."""
    return token is None or is_bearer(request, token) or is_session(token, request.cookies.get(COOKIE))


def is_bearer(request: Request, token: str) -> bool:
    """Whether the request presents the token."""
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    return scheme.lower() == "bearer" and is_token(credentials.strip(), token)


def is_token(given: str, token: str) -> bool:
    """Whether it is the token; in constant time, so that the delay does not tell how much of it was right."""
    return hmac.compare_digest(given.encode(), token.encode())
