"""Fixtures that every room's tests share: where the reference data lie, and what their absence means."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# As the command line does, and before torch is loaded: tests share the cores among processes.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

PROJECT = Path(__file__).resolve().parent.parent


def _reference(variable: str, default: str) -> Path:
    """A folder of reference data; absent, the test is skipped with a reason, in CI it fails."""
    folder = Path(os.environ.get(variable, PROJECT.parent / "shared" / default))
    if not folder.is_dir():
        message = f"reference data absent: set {variable} to the folder that holds {default}"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return folder


@pytest.fixture(scope="session")
def parity() -> Path:
    """What the published networks compute (weights, inputs and answers of the original code)."""
    return _reference("CT_PARITY_DATA", "parity")


@pytest.fixture(scope="session")
def ct_data() -> Path:
    """Real, public, de-identified CT series and awkward files."""
    return _reference("CT_TEST_DATA", "data")
