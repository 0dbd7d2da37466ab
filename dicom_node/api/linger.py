"""An answer before the request is over, such that the caller sees it."""

from __future__ import annotations

import asyncio

from fastapi import Request

_BYTES = 64 << 20
_SECONDS = 5.0


async def linger(request: Request) -> None:
    """Read on for a little while, and keep nothing, before an error is answered.

    Who still sends when the connection closes gets a reset in place of the answer. Not for one that waits
    for our word before it sends (`Expect: 100-continue`), nor for a body that was read already.
    """
    if "expect" in request.headers:
        return
    discarded = 0
    try:
        async with asyncio.timeout(_SECONDS):
            async for chunk in request.stream():
                discarded += len(chunk)
                if discarded > _BYTES:
                    return
    except (TimeoutError, RuntimeError):  # the latter: there is nothing left to read
        return
