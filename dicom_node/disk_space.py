"""A disk that has no room for an upload is said to its sender, who can do nothing about it but wait."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError

from inference.errors import RefusalCode, UploadRefusal

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""No space left, a quota, a file system's or a process's limit of one file."""
_POSTGRES_FULL = "53100"


@contextmanager
def refused_without_space() -> Iterator[None]:
    """What fails within it for want of space on a disk becomes a refusal.

    Raises
    ------
    UploadRefusal
        `no_space`.
    """
    try:
        yield
    except (OSError, DBAPIError) as error:
        if not _is_full(error):
            raise
        raise UploadRefusal(
            RefusalCode.NO_SPACE, "The node's disk has no room for the upload: nothing of it was kept."
        ) from error


def _is_full(error: OSError | DBAPIError) -> bool:
    if isinstance(error, OSError):
        return error.errno in _FULL
    code = getattr(error.orig, "sqlite_errorcode", None)
    return code == sqlite3.SQLITE_FULL or getattr(error.orig, "sqlstate", None) == _POSTGRES_FULL
