"""Whether a request was made by one of our own pages: the guard against pages that lure a browser.

A browser sends cookies, and reaches loopback, for any page that it shows. What such a page cannot do is to
hide where it comes from: `Sec-Fetch-Site` and `Origin` are set by the browser alone (Fetch standard, Fetch
Metadata).
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def from_own_page(request: HTTPConnection) -> bool:
    """True where the browser says so; a request that says nothing of where it comes from is not ours."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    # Browsers leave that header out over plain HTTP, but for loopback.
    origin = request.headers.get("origin", "")
    return bool(origin) and urlsplit(origin).netloc == request.headers.get("host")
