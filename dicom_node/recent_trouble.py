"""The last warnings and errors of this process's log, for the page that shows how the node is.

A log line says nothing of a patient (see `log`); of an exception, its type and place alone are kept.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime

from dicom_node.errors import describe_fault
from dicom_node.log import key_at_work, quotes_no_tags

MOST = 30


@dataclass(frozen=True)
class Trouble:
    """One line of the log: `fault` and `key` are "" where it names none."""

    at: datetime
    severe: bool
    message: str
    fault: str
    key: str


class RecentTrouble(logging.Handler):
    """Keeps the last lines from WARNING up while it is attached to the root logger."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._lines: deque[Trouble] = deque(maxlen=MOST)
        self.addFilter(quotes_no_tags)

    @property
    def newest_first(self) -> tuple[Trouble, ...]:
        """What was kept."""
        return tuple(reversed(self._lines))

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        error = record.exc_info[1] if record.exc_info else None
        fault = describe_fault(error) if error is not None else getattr(record, "fault", "")
        self._lines.append(
            Trouble(
                at=datetime.fromtimestamp(record.created, UTC),
                severe=record.levelno >= logging.ERROR,
                message=record.getMessage(),
                fault=str(fault),
                key=key_at_work() or "",
            )
        )
