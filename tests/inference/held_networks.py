"""Networks that begin to read and then wait, so that a test sees what else goes on meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from inference.members import Ensemble, Reading


@dataclass
class HeldNetworks:
    """`reading` is set once networks read; they go on with `go_on`; `inside` is how many read, by call."""

    reading: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)
    inside: list[int] = field(default_factory=list)


@contextmanager
def held_networks() -> Iterator[HeldNetworks]:
    held = HeldNetworks()
    original = Ensemble.read
    now: list[int] = []

    def slow(self: Ensemble, *arguments: Any, **named: Any) -> Reading:
        now.append(1)
        held.inside.append(len(now))
        held.reading.set()
        assert held.go_on.wait(60)
        try:
            return original(self, *arguments, **named)
        finally:
            now.pop()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Ensemble, "read", slow)
        yield held
