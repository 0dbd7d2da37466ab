"""An HTTP request as bytes: as it goes over the wire, but for its body, which has its true length.

    POST /predict?details=true
    content-type: multipart/form-data; boundary=x

    --x...

The first line may end with a number: the size of the pieces in which the body comes.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from starlette.types import ASGIApp, Message

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TARGET = re.compile(rb"/[\x21-\x7e]*")
_FORBIDDEN = re.compile(rb"[\0\r\n]")
_FIRST_LINE = re.compile(rb"(\S+) (\S+)(?: (\d{1,9}))?")


@dataclass
class HttpRequest:
    """What a server takes from the wire."""

    method: bytes
    target: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes
    piece: int = 1 << 16

    def to_bytes(self) -> bytes:
        """The request in the form that `parse_request` reads."""
        lines = [
            b"%s %s %d" % (self.method, self.target, self.piece),
            *(b"%s: %s" % item for item in self.headers),
        ]
        return b"\r\n".join(lines) + b"\r\n\r\n" + self.body


@dataclass
class HttpResponse:
    """What the application answered."""

    status: int = 0
    headers: dict[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""
    starts: int = 0


def parse_request(content: bytes) -> HttpRequest:
    """The request in some bytes.

    Raises
    ------
    ValueError
        For what a server refuses before the application sees it.
    """
    head, _, body = content.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    matched = _FIRST_LINE.fullmatch(first)
    if not matched or not _TOKEN.fullmatch(matched[1]) or not _TARGET.fullmatch(matched[2]):
        raise ValueError("no request line")
    headers = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not _TOKEN.fullmatch(name) or _FORBIDDEN.search(value):
            raise ValueError("no header")
        headers.append((name.lower(), value.strip(b" \t")))
    return HttpRequest(matched[1], matched[2], headers, body, max(int(matched[3] or 1 << 16), 1))


def send(app: ASGIApp, request: HttpRequest) -> HttpResponse:
    """Let an application answer, in an event loop of its own."""
    return asyncio.run(_send(app, request))


async def _send(app: ASGIApp, request: HttpRequest) -> HttpResponse:
    response = HttpResponse()
    pieces = _pieces(request)
    gone = asyncio.Event()

    async def receive() -> Message:
        message = next(pieces, None)
        if message is None:
            await gone.wait()
            return {"type": "http.disconnect"}
        return message

    async def answer(message: Message) -> None:
        if message["type"] == "http.response.start":
            response.starts += 1
            response.status = int(message["status"])
            response.headers = {
                bytes(name).lower(): bytes(value) for name, value in message.get("headers", [])
            }
        elif message["type"] == "http.response.body":
            response.body += message.get("body", b"")
            if not message.get("more_body"):
                gone.set()

    await app(_scope(request), receive, answer)
    return response


def _scope(request: HttpRequest) -> dict[str, Any]:
    path, _, query = request.target.partition(b"?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "server": ("127.0.0.1", 8000),
        "client": ("127.0.0.1", 50000),
        "scheme": "http",
        "method": request.method.decode("ascii").upper(),
        "root_path": "",
        "path": unquote(path.decode("ascii")),
        "raw_path": path,
        "query_string": query,
        "headers": request.headers,
    }


def _pieces(request: HttpRequest) -> Iterator[Message]:
    body = request.body
    size = max(request.piece, len(body) // 512)
    for start in range(0, max(len(body), 1), size):
        yield {
            "type": "http.request",
            "body": body[start : start + size],
            "more_body": start + size < len(body),
        }
