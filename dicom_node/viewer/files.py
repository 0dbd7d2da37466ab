"""The installed files: found by exact name, and the index with the policy under which its scripts run."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

from dicom_node.viewer.install import RECORD

_INDEX = "index.html"
_HASHED_NAME = re.compile(r"(?:^|.*\.)[0-9a-f]{16}\.[a-z0-9]+$")


@dataclass(frozen=True)
class InstalledFile:
    """One file: where it is, and whether its name changes with its content."""

    path: Path
    immutable: bool


@dataclass(frozen=True)
class ViewerIndex:
    """The page and its Content-Security-Policy."""

    html: bytes
    policy: str


@dataclass(frozen=True)
class _Installation:
    stamp: int
    names: frozenset[str]
    index: ViewerIndex


@dataclass
class ViewerFiles:
    """What lies in `folder`, read anew when another version is installed while the node runs."""

    folder: Path
    _read: _Installation | None = field(default=None, init=False)

    def find(self, name: str) -> InstalledFile | None:
        """The file of exactly this name below the folder; not the index, which has a page of its own."""
        installation = self._current()
        if installation is None or name == _INDEX or name not in installation.names:
            return None
        return InstalledFile(self.folder / name, _HASHED_NAME.match(name) is not None)

    def index(self) -> ViewerIndex | None:
        """The page, None where no viewer is installed."""
        installation = self._current()
        return installation.index if installation is not None else None

    def _current(self) -> _Installation | None:
        try:
            stamp = (self.folder / RECORD).stat().st_mtime_ns
            if self._read is None or self._read.stamp != stamp:
                names = json.loads((self.folder / RECORD).read_text(encoding="utf-8"))["files"]
                html = (self.folder / _INDEX).read_bytes()
                self._read = _Installation(stamp, frozenset(names), ViewerIndex(html, _policy(html)))
        except (FileNotFoundError, NotADirectoryError):
            self._read = None
        return self._read


def _policy(html: bytes) -> str:
    """Content-Security-Policy of the page: this origin only, and of inline scripts those that it has now."""
    scripts = _InlineScripts()
    scripts.feed(html.decode("utf-8"))
    digests = (hashlib.sha256(text.encode()).digest() for text in scripts.texts)
    hashes = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return "; ".join(
        (
            "default-src 'none'",
            # A library of arrays (ndarray) makes functions from text, which comes from these scripts only.
            # 'wasm-unsafe-eval' is enough for the codecs; with it a segmentation fails to open.
            f"script-src 'self' 'unsafe-eval' {hashes}",
            "worker-src 'self' blob:",
            "connect-src 'self' blob: data:",
            "img-src 'self' data: blob:",
            "font-src 'self' data:",
            # Its components set style attributes and insert style elements.
            "style-src 'self' 'unsafe-inline'",
            "manifest-src 'self'",
            # A PDF of the archive is shown from memory, by an object that is empty at first: that is 'self'.
            "object-src 'self' blob:",
            "frame-src blob:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )


class _InlineScripts(HTMLParser):
    """Collects the text of every script element that has no `src`."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag == "script" and all(name != "src" for name, _ in attrs)
        if self._inside:
            self.texts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.texts[-1] += data
