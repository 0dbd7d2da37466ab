"""Whether Orthanc answers, and which Orthanc it is; a change is logged once, not at every attempt."""

from __future__ import annotations

import logging
import re
import threading
from typing import Any

from dicom_node.errors import ArchiveError

logger = logging.getLogger(__name__)

SAFE_VERSION = (1, 12, 11)
"""First release without CVE-2026-5437 to CVE-2026-5445."""


class ArchiveHealth:
    """Shared by all who speak to the archive."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._problem: str | None = "Orthanc has not answered yet"
        self._version = ""
        self._away = False

    @property
    def problem(self) -> str | None:
        """Why the archive cannot be used now, None while it answers."""
        return self._problem

    @property
    def version(self) -> str:
        """Orthanc's version, "" until it answered once."""
        return self._version

    @property
    def warning(self) -> str | None:
        """A sentence if this Orthanc should be replaced by a newer one."""
        if not self._version or not _older(self._version):
            return None
        safe = ".".join(map(str, SAFE_VERSION))
        return (
            f"Orthanc {self._version} has known vulnerabilities (CVE-2026-5437 to -5445):"
            f" {safe} or later fixes them; keep it away from networks that are not trusted"
        )

    def answered(self, system: dict[str, Any]) -> None:
        """Orthanc answers, and says this of itself."""
        with self._lock:
            self._problem, self._away = None, False
            first = not self._version
            self._version = str(system.get("Version", "unknown"))
        if first and self.warning is not None:
            logger.warning(self.warning)
        logger.info("the archive answers", extra={"orthanc_version": self._version})

    def failed(self, error: ArchiveError) -> None:
        """Orthanc does not answer as it should."""
        with self._lock:
            self._problem = str(error)
            first, self._away = not self._away, True
        if first:
            logger.warning(
                "the archive cannot be used; trying again until it can", extra={"problem": str(error)}
            )


def _older(version: str) -> bool:
    numbers = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
    # A development build ("mainline-...") is newer than any release.
    return numbers is not None and tuple(map(int, numbers.groups())) < SAFE_VERSION
