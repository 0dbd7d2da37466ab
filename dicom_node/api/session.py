"""The cookie of a person who signed in: it says until when, and nothing else; nothing is kept for it.

It is signed with a key derived from the node's token, so that another token signs everybody out.
"""

from __future__ import annotations

import hashlib
import hmac
import time

COOKIE = "dicom_node_session"
LASTS_S = 12 * 3600
"""A working day's shift; a browser that is closed before forgets it then."""


def new_session(token: str) -> str:
    """The cookie's value for somebody who gave the right token."""
    expires = str(int(time.time()) + LASTS_S)
    return f"{expires}.{_signature(token, expires)}"


def is_session(token: str, value: str | None) -> bool:
    """Whether the value was made with this token and has not expired."""
    expires, _, signature = (value or "").partition(".")
    if not hmac.compare_digest(signature.encode(), _signature(token, expires).encode()):
        return False
    return int(expires) > time.time()  # we signed it: it is a number


def _signature(token: str, expires: str) -> str:
    return hmac.new(
        token.encode(), f"dicom-node session until {expires}".encode(), hashlib.sha256
    ).hexdigest()
