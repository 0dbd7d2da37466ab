"""Structured log lines: JSON, the key of work in every line of a study, nothing of a patient.

Exceptions are logged as type and frames: their texts, like the texts of warnings of DICOM libraries, may
quote values of tags.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, TextIO

from dicom_node.errors import describe_fault
from dicom_node.terminal import printable

_key: ContextVar[str | None] = ContextVar("key_of_work", default=None)
_PLAIN = frozenset(vars(logging.LogRecord("", 0, "", 0, "", (), None))) | {"message", "asctime", "taskName"}
# The last two write every URL.
_QUOTES_TAGS = ("pydicom", "pynetdicom", "highdicom", "python_multipart", "httpcore", "httpx")


@contextmanager
def work_on(key: str) -> Iterator[None]:
    """Within it, every log line of this thread carries `key`."""
    token = _key.set(key)
    try:
        yield
    finally:
        _key.reset(token)


def key_at_work() -> str | None:
    """The key that this thread works on."""
    return _key.get()


class JsonLines(logging.Formatter):
    """`{"time", "level", "logger", "message", "key"?, ...}`; values given as `extra=` become fields."""

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        key = _key.get()
        if key is not None:
            line["key"] = key
        line.update({name: value for name, value in vars(record).items() if name not in _PLAIN})
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            line["fault"] = describe_fault(error)
            line["frames"] = [
                f"{frame.filename}:{frame.lineno} {frame.name}"
                for frame in traceback.extract_tb(error.__traceback__)
            ]
        return printable(json.dumps(line, ensure_ascii=False, default=str))


def configure(level: str = "INFO", stream: TextIO | None = None) -> None:
    """Send every log line of this process to `stream` (standard error) as JSON."""
    handler = logging.StreamHandler(stream if stream is not None else sys.stderr)
    handler.setFormatter(JsonLines())
    handler.setLevel(level)
    # Not by the loggers' levels: pydicom sets its own when it is imported, which may be later.
    handler.addFilter(quotes_no_tags)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    warnings.showwarning = _log_warning  # type: ignore[assignment]
    threading.excepthook = _log_dead_thread


def _log_dead_thread(arguments: threading.ExceptHookArgs) -> None:
    """Python would print the exception with its text."""
    name = arguments.thread.name if arguments.thread is not None else ""
    logging.getLogger(__name__).error(
        "a thread ended on a fault", exc_info=arguments.exc_value, extra={"thread_name": name}
    )


def quotes_no_tags(record: logging.LogRecord) -> bool:
    """A filter: lines of libraries that may quote the value of a tag are not kept."""
    return record.name.partition(".")[0] not in _QUOTES_TAGS


def _log_warning(
    _message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: Any, **__: Any
) -> None:
    """A Python warning as its category and place."""
    logging.getLogger("warnings").warning("%s at %s:%d", category.__name__, filename, lineno)
