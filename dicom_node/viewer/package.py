"""The npm package that holds the viewer's built files: which one, and which of its files are served."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

_CHUNK = 1 << 20
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
_NOT_SERVED = (
    # Models and runtimes of tools that a chest CT with a report does not use: 160 of 200 MB.
    "ort/",
    "dicom-microscopy-viewer/",
    # Customizations by URL are off, and the catalogue of them is a page of its own.
    "customizations/",
    # Sign-in with other hosts, and a service worker that loads its code from one.
    "google.js",
    "oidc-client.min.js",
    "silent-refresh.html",
    "sw.js",
    # For other servers; `app-config.js` is made by the node.
    "app-config.js",
    "serve.json",
)


@dataclass(frozen=True)
class ViewerPackage:
    """An npm package by name and version; `integrity` is the tarball's digest as npm writes it (SRI)."""

    name: str
    version: str
    integrity: str

    @property
    def specifier(self) -> str:
        """What npm is asked for."""
        return f"{self.name}@{self.version}"

    def matches(self, tarball: Path) -> bool:
        """Whether the file is the very tarball that the digest was taken of."""
        digest = hashlib.sha512()
        with tarball.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
        return f"sha512-{base64.b64encode(digest.digest()).decode()}" == self.integrity


OHIF = ViewerPackage(
    name="@ohif/app",
    version="3.13.2",
    integrity="sha512-WZdxmpmG7rqFgW9ZJLcbgr3XCtLi1KDNPoMaeY5PPe6j4G4fjEjjkycZM6C6Zk2F87BKxFfpq+jd5xXZB9E8EA==",
)
"""OHIF (MIT)."""


def is_served(name: str) -> bool:
    """Whether a file of the package's `dist` is installed: a plain relative path, and nothing left out."""
    return (
        _PLAIN_NAME.fullmatch(name) is not None
        and not name.startswith(_NOT_SERVED)
        and not name.endswith(".map")
    )
