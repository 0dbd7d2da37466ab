"""Requests to Orthanc over HTTP: one keep-alive connection for each thread.

`http.client` on one connection fetched 1,200 slices a second where a new connection each, or the study's
archive, gave tens; more threads did not help.
"""

from __future__ import annotations

import base64
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from dicom_node.errors import ArchiveError, ArchiveMissing, ArchiveRefused, ArchiveUnavailable
from dicom_node.settings import OrthancSettings

_PIECE = 1 << 20


class OrthancConnection:
    """The way to one Orthanc.

    Every method raises `ArchiveUnavailable` when Orthanc does not answer, `ArchiveMissing` for what it does
    not have and `ArchiveRefused` for what it does not accept.
    """

    def __init__(self, settings: OrthancSettings) -> None:
        url = urlsplit(settings.url)
        if url.scheme not in {"http", "https"} or not url.hostname:
            raise ArchiveRefused("orthanc.url is not an http(s) URL")
        self._secure = url.scheme == "https"
        self._host = url.hostname
        self._port = url.port or (443 if self._secure else 80)
        self._base = url.path.rstrip("/")
        self._timeout_s = settings.timeout_s
        # Without it 1.10.1 may compress every file anew: 15 instead of hundreds of slices a second.
        self._headers = {"Accept-Encoding": "identity"}
        credentials = settings.credentials()
        if credentials is not None:
            token = base64.b64encode(":".join(credentials).encode()).decode()
            self._headers["Authorization"] = f"Basic {token}"
        self._threads = threading.local()

    def json(self, method: str, path: str, body: bytes | None = None) -> Any:
        """The answer to one request, of JSON."""
        text = self.body(method, path, body)
        try:
            return json.loads(text)
        except ValueError as error:
            raise ArchiveUnavailable("Orthanc's answer is not JSON") from error

    def body(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """The answer to one request, as it is."""
        return self._read(self._open(method, path, body))

    def pieces(self, method: str, path: str) -> Iterator[bytes]:
        """The answer to one request, which is sent at once, in pieces of 1 MiB at most."""
        return self._pieces(self._open(method, path, None))

    def _pieces(self, response: http.client.HTTPResponse) -> Iterator[bytes]:
        while piece := self._read(response, _PIECE):
            yield piece
        if response.length:
            # Reading in pieces, http.client does not say that the end is missing.
            self._drop_connection()
            raise ArchiveUnavailable("Orthanc broke off while answering")

    def _read(self, response: http.client.HTTPResponse, size: int | None = None) -> bytes:
        try:
            return response.read(size)
        except (OSError, http.client.HTTPException) as error:
            self._drop_connection()
            raise ArchiveUnavailable("Orthanc broke off while answering") from error

    def _open(self, method: str, path: str, body: bytes | None) -> http.client.HTTPResponse:
        """The response to one request, its status checked, its body unread."""
        reused = getattr(self._threads, "connection", None) is not None
        try:
            response = self._send(method, path, body)
        except (OSError, http.client.HTTPException) as error:
            self._drop_connection()
            # A kept connection that Orthanc closed meanwhile says nothing of Orthanc: once more on a new one.
            # Every request here may be repeated: storing the same instance twice is the same instance.
            if not reused or isinstance(error, TimeoutError):
                raise _unavailable(error) from error
            try:
                response = self._send(method, path, body)
            except (OSError, http.client.HTTPException) as again:
                self._drop_connection()
                raise _unavailable(again) from again
        if response.status >= 400:
            self._drain(response)
            raise _status_error(response.status, method, path)
        return response

    def _send(self, method: str, path: str, body: bytes | None) -> http.client.HTTPResponse:
        connection: http.client.HTTPConnection | None = getattr(self._threads, "connection", None)
        if connection is None:
            kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
            connection = kind(self._host, self._port, timeout=self._timeout_s)
            connection.connect()
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._threads.connection = connection
        connection.request(method, self._base + path, body=body, headers=self._headers)
        return connection.getresponse()

    def _drain(self, response: http.client.HTTPResponse) -> None:
        """Read an error's body, so that the connection stays usable; it may quote tags and is not kept."""
        try:
            response.read()
        except (OSError, http.client.HTTPException):
            self._drop_connection()

    def _drop_connection(self) -> None:
        connection: http.client.HTTPConnection | None = getattr(self._threads, "connection", None)
        self._threads.connection = None
        if connection is not None:
            connection.close()


def _unavailable(error: Exception) -> ArchiveUnavailable:
    if isinstance(error, TimeoutError):
        return ArchiveUnavailable("Orthanc does not answer in time")
    if isinstance(error, ConnectionRefusedError):
        return ArchiveUnavailable("Orthanc is not running: connection refused")
    return ArchiveUnavailable(f"Orthanc cannot be reached: {type(error).__name__}")


def _status_error(status: int, method: str, path: str) -> ArchiveError:
    resource = f"{method} {path.partition('?')[0]}"
    if status == 404:
        return ArchiveMissing(f"Orthanc does not have it ({resource})")
    if status in {401, 403}:
        return ArchiveRefused(f"Orthanc does not accept the credentials ({status}, {resource})")
    if status < 500:
        return ArchiveRefused(f"Orthanc does not accept the request ({status}, {resource})")
    return ArchiveUnavailable(f"Orthanc failed ({status}, {resource})")
