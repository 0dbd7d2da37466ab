"""The cookie of who signed in, and whether a request is from a page of ours."""

from __future__ import annotations

import time

import pytest
from starlette.requests import Request

from dicom_node.api.same_origin import from_own_page
from dicom_node.api.session import LASTS_S, is_session, new_session


def test_a_session_is_good_for_its_token_and_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    value = new_session("s3cret")
    assert is_session("s3cret", value)
    assert not is_session("another", value)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + LASTS_S + 2)
    assert not is_session("s3cret", value)


def test_a_session_cannot_be_made_up_or_prolonged() -> None:
    expires, _, signature = new_session("s3cret").partition(".")
    for value in (None, "", ".", f"{int(expires) + 1}.{signature}", f"{expires}.", f"x.{signature}", "é.é"):
        assert not is_session("s3cret", value)


@pytest.mark.parametrize(
    ("headers", "own"),
    [
        ({"sec-fetch-site": "same-origin", "host": "node"}, True),
        ({"sec-fetch-site": "cross-site", "host": "node", "origin": "http://node"}, False),
        ({"sec-fetch-site": "same-site", "host": "node"}, False),
        ({"sec-fetch-site": "none", "host": "node"}, False),
        ({"host": "node:8000", "origin": "http://node:8000"}, True),
        ({"host": "node:8000", "origin": "http://node:9000"}, False),
        ({"host": "node", "origin": "null"}, False),
        ({"host": "node"}, False),
        ({"origin": ""}, False),
    ],
)
def test_only_what_a_browser_says_is_ours_is_ours(headers: dict[str, str], own: bool) -> None:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    assert from_own_page(Request({"type": "http", "method": "POST", "headers": raw})) is own
