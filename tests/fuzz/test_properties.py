"""A short search by hypothesis on every target, the same inputs each time; `make fuzz` goes on from there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fuzz.property_based import search
from fuzz.targets import load
from fuzz.targets.request import stop_node
from fuzz.watch import Watch

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # of pydicom, about values of strangers
EXAMPLES = {"archive": 150, "instance": 80, "series": 10, "nifti": 60, "request": 12}


@pytest.fixture(scope="module", autouse=True)
def node_is_stopped() -> Iterator[None]:
    yield
    stop_node()


@pytest.mark.parametrize("name", EXAMPLES)
def test_what_strangers_send_is_read_or_refused(name: str, tmp_path: Path) -> None:
    target = load(name)
    watch = Watch(target, target.whole, tmp_path / "found", tmp_path / "report.json", limited=False)
    search(target, watch.feed, start=4, examples=EXAMPLES[name])
    assert list((tmp_path / "found").iterdir()) == []
