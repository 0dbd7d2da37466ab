"""Small checkpoints for this room's tests, and one thread for their networks, as in those of `models`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bundle_import.small_checkpoints import SmallCheckpoints
from tests.models.conftest import one_thread

__all__ = ["one_thread"]


@pytest.fixture
def small(parity: Path, tmp_path: Path) -> SmallCheckpoints:
    return SmallCheckpoints(parity, tmp_path)
