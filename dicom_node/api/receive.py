"""A multipart upload from the network straight onto disk, its size capped while it comes in.

Starlette's own form parser would spool outside the data folder and count nothing.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import BinaryIO

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from dicom_node.sizes import size_in_words
from inference.errors import RefusalCode, UploadRefusal

_BUFFER_BYTES = 1 << 20


async def receive_file(request: Request, target: Path, limit_bytes: int, missing: RefusalCode) -> str:
    """Write the part named `file` to `target` and return the file name that its sender gave ("" without one).

    Raises
    ------
    UploadRefusal
        `too_large` as soon as the body is over `limit_bytes`; `missing` if there is no complete part `file`.
    starlette.requests.ClientDisconnect
        If the caller goes away.
    """
    if _declared_bytes(request) > limit_bytes:
        raise _too_large(limit_bytes)
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind != b"multipart/form-data" or b"boundary" not in options:
        raise _missing(missing)
    with target.open("wb") as sink:
        part = _FilePart(sink)
        try:
            parser = part.parser(options[b"boundary"])
        except FormParserError as error:
            raise _missing(missing) from error
        received = 0
        async for chunk in request.stream():
            received += len(chunk)
            if received > limit_bytes:
                raise _too_large(limit_bytes)
            try:
                parser.write(chunk)
            except FormParserError as error:
                raise _missing(missing) from error
            if len(part.pending) >= _BUFFER_BYTES:
                await asyncio.to_thread(part.flush)
        await asyncio.to_thread(part.flush)
    if not part.complete:
        raise _missing(missing)
    return part.filename


class _FilePart:
    """What the parser reports, boiled down to the first part named `file`."""

    def __init__(self, sink: BinaryIO) -> None:
        self.pending = bytearray()
        self.filename = ""
        self.complete = False
        self._sink = sink
        self._inside = False
        self._header_name = bytearray()
        self._header_value = bytearray()

    def parser(self, boundary: bytes) -> MultipartParser:
        """A parser that reports to this part."""
        return MultipartParser(
            boundary,
            {
                "on_header_field": lambda data, start, end: self._header_name.extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._header_value.extend(data[start:end]),
                "on_header_end": self._header_end,
                "on_part_data": self._part_data,
                "on_part_end": self._part_end,
            },
        )

    def flush(self) -> None:
        """Write what is pending."""
        self._sink.write(self.pending)
        self.pending.clear()

    def _header_end(self) -> None:
        if bytes(self._header_name).lower() == b"content-disposition" and not self.complete:
            _, options = parse_options_header(bytes(self._header_value))
            if options.get(b"name") == b"file":
                self._inside = True
                self.filename = options.get(b"filename", b"").decode("utf-8", "replace")
        self._header_name.clear()
        self._header_value.clear()

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._inside:
            self.pending += data[start:end]

    def _part_end(self) -> None:
        self.complete = self.complete or self._inside
        self._inside = False


def _declared_bytes(request: Request) -> int:
    declared = request.headers.get("content-length", "")
    return int(declared) if declared.isdecimal() else 0


def _too_large(limit_bytes: int) -> UploadRefusal:
    return UploadRefusal(RefusalCode.TOO_LARGE, f"The upload is larger than {size_in_words(limit_bytes)}.")


def _missing(code: RefusalCode) -> UploadRefusal:
    return UploadRefusal(code, "The multipart field 'file' is missing or incomplete.")
