"""One thread for every network of this room's tests: they are small, and tests run side by side."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.torch_threads import torch_threads


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    with torch_threads(1):
        yield
