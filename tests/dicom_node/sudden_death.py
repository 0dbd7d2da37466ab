"""A process that kills itself with SIGKILL at a method: before or after its first call."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

Place = tuple[type, str, bool]
"""The class, the method, and whether it is done first."""


def die_at(place: Place) -> None:
    owner, name, afterwards = place
    method: Callable[..., Any] = getattr(owner, name)

    def dying(*arguments: Any, **named: Any) -> None:
        if afterwards:
            method(*arguments, **named)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, name, dying)
