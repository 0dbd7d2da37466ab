"""One Chromium for the tests of a module.

Playwright's synchronous calls keep an event loop running in the thread that made them, until the browser is
closed. A node in the same process refuses to set up durable work while one runs. So a browser never outlives
its module, and where a module has a node of its own in the process, that is started before it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright

# Nothing but our own node is visited, and root has no sandbox. Rendering by software, since a machine for
# tests has no graphics card.
_ARGUMENTS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium; absent, tests are skipped, in CI they fail."""
    program = shutil.which("chromium")
    if program is None:
        message = "chromium is not installed: scripts/setup.sh --tests"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=_ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()
