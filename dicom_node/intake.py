"""How the node learns of studies: a hint from the plug-in, `/changes`, and a comparison with `/studies`.

Each of the three alone may miss one: a hint is dropped while the node is away; `/changes` never lists a study
that was pending stability when Orthanc restarted; a comparison now and then is late. All of them feed one
queue, and one examiner looks at one study at a time, so that the order in which they come does not matter.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

from dicom_node.archive_health import ArchiveHealth
from dicom_node.archive_memory import ArchiveMemory
from dicom_node.errors import ArchiveError
from dicom_node.examination import Examiner
from dicom_node.orthanc import ArchiveStudy, Orthanc
from dicom_node.retries import pause_s
from dicom_node.settings import IntakeSettings

logger = logging.getLogger(__name__)

FEED = "changes"
# Seconds of the first and of the longest pause.
_ARCHIVE_PAUSE_S = 0.5, 30.0
_FAULT_PAUSE_S = 5.0, 900.0
_SHORTEST_COMPARISON_S = 0.2


class Intake:
    """Two threads: one watches the archive, one examines."""

    def __init__(
        self,
        settings: IntakeSettings,
        orthanc: Orthanc,
        memory: ArchiveMemory,
        examiner: Examiner,
        health: ArchiveHealth,
    ) -> None:
        self._examiner = examiner
        self._orthanc = orthanc
        self._health = health
        self._waiting = _Waiting()
        self._watch = _Watch(settings, orthanc, memory, self.hint)
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._watch_archive, name="intake-watch", daemon=True),
            threading.Thread(target=self._examine, name="intake-examiner", daemon=True),
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End; what was not examined is found again at the next start."""
        self._stop.set()
        self._waiting.wake()
        for thread in self._threads:
            if thread.is_alive():  # it was never started where another part did not come up
                thread.join(timeout=30)

    def hint(self, orthanc_id: str) -> None:
        """A study may be complete; returns at once."""
        self._waiting.put(orthanc_id)

    def _watch_archive(self) -> None:
        failures = 0
        while not self._stop.is_set():
            try:
                if self._health.problem is not None:
                    self._health.answered(self._orthanc.system())
                    # An Orthanc that restarted forgot which studies were pending.
                    self._watch.compare_soon()
                pause = self._watch.look()
                failures = 0
            except ArchiveError as error:
                failures += 1
                self._health.failed(error)
                pause = pause_s(failures, *_ARCHIVE_PAUSE_S)
            except Exception:
                failures += 1
                logger.exception("watching the archive failed")
                pause = pause_s(failures, *_ARCHIVE_PAUSE_S)
            self._stop.wait(pause)

    def _examine(self) -> None:
        failures: dict[str, int] = {}
        while not self._stop.is_set():
            orthanc_id = self._waiting.get()
            if orthanc_id is None:
                continue
            try:
                self._examiner.examine(orthanc_id)
                failures.pop(orthanc_id, None)
            except Exception as error:  # noqa: BLE001 - is entered in the ledger and the log
                count = failures[orthanc_id] = failures.get(orthanc_id, 0) + 1
                archive = isinstance(error, ArchiveError)
                first, longest = _ARCHIVE_PAUSE_S if archive else _FAULT_PAUSE_S
                pause = pause_s(count, first, longest)
                self._record(orthanc_id, error, pause)
                self._waiting.put(orthanc_id, pause)

    def _record(self, orthanc_id: str, error: Exception, pause: float) -> None:
        """Make the fault visible: the archive's, or, where the archive does answer, the study's own."""
        try:
            self._examiner.record_fault(orthanc_id, error, pause)
        except ArchiveError as away:
            self._health.failed(away)
            return
        except Exception:
            # The thread must outlive a ledger that cannot be written; the study is examined again.
            logger.exception("a study's fault could not be recorded")
        logger.error("a study could not be examined", exc_info=error, extra={"orthanc_id": orthanc_id})


class _Watch:
    """Follows `/changes` and compares `/studies` when that is due."""

    def __init__(
        self, settings: IntakeSettings, orthanc: Orthanc, memory: ArchiveMemory, found: Callable[[str], None]
    ) -> None:
        self._settings = settings
        self._orthanc = orthanc
        self._memory = memory
        self._found = found
        self._compare_at = 0.0
        self._noticed: dict[tuple[str, str], float] = {}

    def compare_soon(self) -> None:
        """Compare at the next look."""
        self._compare_at = 0.0

    def look(self) -> float:
        """Look once; returns seconds until the next look.

        Raises
        ------
        ArchiveError
            If Orthanc does not answer.
        """
        growing = self._follow()
        now = time.monotonic()
        settled_at = now + max(self._settings.settle_s, _SHORTEST_COMPARISON_S)
        if growing:
            # Its event is to follow, unless Orthanc restarts before: then nothing else will tell.
            self._compare_at = min(self._compare_at, settled_at)
        if now >= self._compare_at:
            unsettled = self._compare(now)
            self._compare_at = now + self._settings.reconcile_s
            if unsettled:
                self._compare_at = min(self._compare_at, settled_at)
        return min(self._settings.poll_changes_s, max(self._compare_at - now, 0.05))

    def _follow(self) -> bool:
        """Take every change up to now; True if images came."""
        position = self._memory.position(FEED)
        newest = self._orthanc.last_change()
        if position is None:
            # What came before the first start is found by comparing, not by its events.
            position = newest
            self._memory.set_position(FEED, position)
        elif newest < position:
            logger.warning("the archive's feed of changes began anew")
            position = 0
            self._memory.set_position(FEED, position)
        growing = False
        while position < newest:
            page = self._orthanc.changes(position)
            for change in page.changes:
                growing = growing or change.kind == "NewInstance"
                if change.kind == "StableStudy":
                    self._found(change.orthanc_id)
            position = max(page.last, position)
            self._memory.set_position(FEED, position)
            if page.done:
                break
        return growing

    def _compare(self, now: float) -> bool:
        """Put every study that differs from our record into the queue; True if some may still be growing."""
        seen = self._memory.seen()
        studies = self._orthanc.studies()
        self._memory.forget(seen.keys() - {study.orthanc_id for study in studies})
        noticed = {}
        unsettled = False
        for study in studies:
            if seen.get(study.orthanc_id) == study.last_update:
                continue
            if not study.stable:
                # Its event is still to come; if Orthanc restarts before, it will read as stable.
                unsettled = True
                continue
            mark = (study.orthanc_id, study.last_update)
            noticed[mark] = self._noticed.get(mark, now)
            if _age_s(study) >= self._settings.settle_s or now - noticed[mark] >= self._settings.settle_s:
                self._found(study.orthanc_id)
            else:
                unsettled = True
        self._noticed = noticed
        return unsettled


class _Waiting:
    """Studies to examine, each once however often it is named, some of them not before a certain time."""

    def __init__(self) -> None:
        self._due: dict[str, float] = {}
        self._condition = threading.Condition()

    def put(self, orthanc_id: str, delay_s: float = 0.0) -> None:
        """Enter a study; without delay it is due now, even if it was put off."""
        due = time.monotonic() + delay_s
        with self._condition:
            self._due[orthanc_id] = due if delay_s else min(due, self._due.get(orthanc_id, due))
            self._condition.notify()

    def get(self) -> str | None:
        """The study that is due the longest; None after a while, or when woken, without one."""
        with self._condition:
            if not self._due:
                self._condition.wait(5)
            if not self._due:
                return None
            orthanc_id, due = min(self._due.items(), key=lambda item: item[1])
            now = time.monotonic()
            if due > now:
                self._condition.wait(due - now)
                return None
            del self._due[orthanc_id]
            return orthanc_id

    def wake(self) -> None:
        """Let `get` return."""
        with self._condition:
            self._condition.notify_all()


def _age_s(study: ArchiveStudy) -> float:
    """Seconds since Orthanc last stored into the study, by its clock against ours; below 0 if they differ."""
    try:
        updated = datetime.strptime(study.last_update, "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return 0.0
    return (datetime.now(UTC) - updated).total_seconds()
