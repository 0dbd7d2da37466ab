"""Who may ask: the bearer of the configured token, or, without one, this machine."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable

from fastapi import Request

from dicom_node.api.errors import ApiError
from dicom_node.api.linger import linger

LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "[::1]", "::1")


def bearer_guard(token: str | None) -> Callable[[Request], Awaitable[None]]:
    """A dependency that lets the token's bearer pass, and everybody where there is no token.

    It looks at the header only: nobody's upload is kept before it is known to be wanted.
    """
    expected = token.encode() if token is not None else None

    async def guard(request: Request) -> None:
        if expected is None:
            return
        scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
        # In constant time: the answer's delay must not tell how many characters were right.
        right = hmac.compare_digest(credentials.strip().encode(), expected)
        if scheme.lower() != "bearer" or not right:
            await linger(request)
            raise ApiError(
                401,
                "unauthorized",
                "Send the node's token as 'Authorization: Bearer ...'.",
                {"WWW-Authenticate": "Bearer"},
            )

    return guard
