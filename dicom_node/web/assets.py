"""Style, scripts and font of the pages, each at an address that changes with its bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable

_FONT = resources.files("fontpkg_ibm_plex_sans") / "files" / "IBMPlexSans[wdth,wght].ttf"
_TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "ttf": "font/ttf",
}
_FILES = ("pages.css", "pages.js", "slices.js", "htmx.min.js", "icon.svg")


@dataclass(frozen=True)
class Asset:
    """A file as it is served; `address` is its path on this host."""

    address: str
    media_type: str
    content: bytes


@cache
def assets() -> Mapping[str, Asset]:
    """Every file by its name; htmx is version 2.0.11 of the npm package `htmx.org`, unchanged (0BSD)."""
    static = resources.files("dicom_node.web") / "static"
    found = {name: _asset(name, static / name) for name in _FILES if name != "pages.css"}
    font = found["plex.ttf"] = _asset("plex.ttf", _FONT)
    # A style sheet names its font by an address, which must change with it.
    style = (static / "pages.css").read_text(encoding="utf-8").replace("plex.ttf", font.address)
    found["pages.css"] = _made("pages.css", style.encode())
    return found


def _asset(name: str, file: Traversable) -> Asset:
    return _made(name, file.read_bytes())


def _made(name: str, content: bytes) -> Asset:
    digest = hashlib.sha256(content).hexdigest()[:12]
    return Asset(f"/web/{digest}/{name}", _TYPES[name.rpartition(".")[2]], content)
