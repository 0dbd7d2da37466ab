"""Every input that was once found to do harm is read or refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fuzz.corpus_files import CORPUS, corpus
from fuzz.targets import NAMES, load
from fuzz.targets.request import stop_node
from fuzz.watch import Watch

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # of pydicom, about values of strangers
INPUTS = [(name, path) for name in NAMES for path in corpus(name)]


@pytest.fixture(scope="module", autouse=True)
def node_is_stopped() -> Iterator[None]:
    yield
    stop_node()


@pytest.mark.parametrize(("name", "path"), INPUTS, ids=[f"{name}-{path.name}" for name, path in INPUTS])
def test_an_input_that_was_found_does_no_harm_any_more(name: str, path: Path, tmp_path: Path) -> None:
    target = load(name)
    watch = Watch(target, target.whole, tmp_path / "found", tmp_path / "report.json", limited=False)
    assert watch.feed(path.read_bytes()) is None


def test_every_input_belongs_to_a_target() -> None:
    assert {path.name for path in CORPUS.iterdir()} <= set(NAMES)
    assert len(INPUTS) == sum(path.is_file() for path in CORPUS.rglob("*")) > 0
