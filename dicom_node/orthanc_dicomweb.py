"""Orthanc's DICOMweb plug-in, read as a stream: the part of `orthanc.py` that a viewer needs.

A viewer asks for many frames at once and gives up on some; so these requests have connections of their own
and wait without holding a thread.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import httpx

from dicom_node.errors import ArchiveMissing, ArchiveRefused, ArchiveUnavailable
from dicom_node.settings import OrthancSettings

ROOT = "/dicom-web/"
"""Where the plug-in is, by `orthanc_config/orthanc.json`."""
_CONNECTIONS = 32


class OrthancDicomWeb:
    """Reading client of one Orthanc's DICOMweb."""

    def __init__(self, settings: OrthancSettings) -> None:
        secure = urlsplit(settings.url).scheme == "https"
        self._base = settings.url.rstrip("/") + ROOT
        self._client = httpx.AsyncClient(
            auth=settings.credentials(),
            # As in orthanc.py: never compressed anew for every frame.
            headers={"Accept-Encoding": "identity"},
            timeout=settings.timeout_s,
            limits=httpx.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS),
            verify=ssl.create_default_context() if secure else False,
            follow_redirects=False,
            # Not through a proxy that the environment names for the outside world.
            trust_env=False,
        )

    async def close(self) -> None:
        """Close its connections."""
        await self._client.aclose()

    @asynccontextmanager
    async def get(
        self, path: str, query: str, *, accept: str, caller: tuple[str, str]
    ) -> AsyncIterator[httpx.Response]:
        """The answer to one GET below the plug-in's root, its status checked, its body unread.

        `caller` is the scheme and the host with port under which the node was asked: the plug-in writes its
        links, in JSON and in headers of parts, for whoever the `Forwarded` header names.

        Raises
        ------
        ArchiveMissing, ArchiveRefused, ArchiveUnavailable
            With nothing of Orthanc's words, which may quote tags.
        """
        url = self._base + path + (f"?{query}" if query else "")
        headers = {"Accept": accept, "Forwarded": f"host={caller[1]};proto={caller[0]}"}
        request = self._client.build_request("GET", url, headers=headers)
        try:
            response = await self._client.send(request, stream=True)
        except httpx.HTTPError as error:
            raise ArchiveUnavailable(f"Orthanc cannot be reached: {type(error).__name__}") from None
        try:
            _check(response.status_code)
            yield response
        finally:
            await response.aclose()


def _check(status: int) -> None:
    if status == 404:
        raise ArchiveMissing("Orthanc does not have it")
    if status in {401, 403}:
        raise ArchiveUnavailable(f"Orthanc does not accept the node's credentials ({status})")
    if status >= 500:
        raise ArchiveUnavailable(f"Orthanc failed ({status})")
    if not 200 <= status < 300:
        raise ArchiveRefused(f"Orthanc does not accept the request ({status})")
