"""The durable runs of studies: fetch, analyse, report, store, and what comes of a refusal or a fault.

A refusal is a normal end. A fault ends the durable run and enters the next one with a growing delay, so that
what waits for a retry holds no place in the queue and no other study up; results that exist are not made
again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from dicom_node.active_bundle import BundleReplaced
from dicom_node.delivery_runs import DeliveryRuns
from dicom_node.durable import Durable, Outcome
from dicom_node.errors import describe_fault
from dicom_node.ledger import Ledger
from dicom_node.ledger_records import NOT_EXAMINED, Purpose, State, WorkRecord
from dicom_node.log import work_on
from dicom_node.refusal_reports import RefusalReports
from dicom_node.retries import RUN_LOST, pause_s, run_id
from dicom_node.settings import WorkerSettings
from dicom_node.steps import ABANDONED, ImagesChanged, StudySteps
from inference.errors import Refusal

logger = logging.getLogger(__name__)

STUDY = "study"
"""The name under which these runs are stored."""
STUDIES = "studies"
"""Their queue."""
UPLOAD_ATTEMPTS = 3
"""Runs of an upload that is not archived: somebody waits for its answer, and its files must not stay."""
UPLOAD_PAUSE_S = 1.0

_MADE_FOR: dict[Purpose, tuple[str, ...]] = {
    "answer": (),
    "objects": ("report",),
    "archive": ("report", "store"),
}


@dataclass(frozen=True)
class StudyRuns:
    """Durable work on studies; `deliveries` takes over what is to be sent of each.

    `abandoned` is called with Orthanc's identifier of a study whose work ended without an answer, since its
    images or the bundle changed meanwhile, so that it is examined again.
    """

    durable: Durable
    steps: StudySteps
    refusals: RefusalReports
    deliveries: DeliveryRuns
    worker: WorkerSettings
    abandoned: Callable[[str], None]

    @property
    def _ledger(self) -> Ledger:
        return self.steps.ledger

    @property
    def queues(self) -> dict[str, int]:
        """The one queue of all studies, and how many of them are in work at once."""
        return {STUDIES: self.worker.concurrency}

    def enqueue(self, key: str) -> None:
        """Do what is left to do for a key."""
        turn = self._ledger.known(key).turn
        self.durable.enqueue(STUDIES, STUDY, run_id(key, turn), key)

    def run(self, key: str) -> None:
        """The durable run for one key."""
        with work_on(key):
            if not self._go(key, ("fetch", "analyse")):
                return
            while True:
                purpose: Purpose = self.durable.step("purpose", self._purpose, key)["purpose"]
                if not self._go(key, _MADE_FOR[purpose]):
                    return
                ended = self.durable.step("end", self._end_reported, key, purpose)
                if ended["ended"]:
                    break
            self.deliveries.enqueue(key, ended["destinations"])

    def _go(self, key: str, names: Iterable[str]) -> bool:
        """Do these steps; False where one ended the run."""
        path: dict[str, tuple[State, Callable[[str], None]]] = {
            "fetch": ("fetching", self.steps.fetch),
            "analyse": ("analysing", self.steps.analyse),
            "report": ("reporting", self.steps.report),
            "store": ("storing", self.steps.store),
        }
        return all(
            self._done(key, self.durable.step(name, self._attempt, key, *path[name])) for name in names
        )

    def _done(self, key: str, outcome: Outcome) -> bool:
        """Whether the run goes on after a step; if not, it is ended or entered again."""
        if "refused" in outcome:
            outcome = self.durable.step("end", self._end_refused, key, outcome["refused"])
            if "fault" not in outcome:
                self.deliveries.enqueue(key, outcome["destinations"])
                return False
        if "fault" in outcome:
            retry = self.durable.step("retry", self._plan_retry, key, outcome["fault"])
            if "turn" in retry:
                run = run_id(key, retry["turn"])
                self.durable.enqueue(STUDIES, STUDY, run, key, delay_s=retry["pause_s"])
            return False
        return True

    def _attempt(self, key: str, state: State, function: Callable[[str], None]) -> Outcome:
        """One step; whatever it meets becomes words that can be recorded."""
        with work_on(key):
            try:
                self._ledger.enter(key, state)
                self.steps.require_accepted(key)
                function(key)
            except Refusal as refusal:
                return {"refused": [refusal.code.value, refusal.sentence, refusal.remedy]}
            except (ImagesChanged, BundleReplaced) as changed:
                return {"refused": [changed.code, changed.sentence, changed.remedy]}
            except Exception as error:  # a fault of any kind is to be seen in the ledger and retried
                logger.warning("failed while %s", state, exc_info=True)
                return {"fault": describe_fault(error)}
            return {}

    def _purpose(self, key: str) -> Outcome:
        return {"purpose": self._ledger.known(key).purpose}

    def _end_reported(self, key: str, purpose: Purpose) -> Outcome:
        # Files go first: an upload's are gone when its answer is out.
        if self._ledger.known(key).purpose == purpose:
            self.steps.clean(key)
        if not self._ledger.reported(key, purpose):
            return {"ended": False}
        with work_on(key):
            logger.info("reported")
        names = self.deliveries.enter(key, refused=False) if purpose == "archive" else []
        return {"ended": True, "destinations": names}

    def _end_refused(self, key: str, refusal: list[str]) -> Outcome:
        code, sentence, remedy = refusal
        with work_on(key):
            try:
                self.refusals.tell(key, code, sentence, remedy)
            except Exception as error:  # as in _attempt
                logger.warning("failed while telling of a refusal", exc_info=True)
                return {"fault": describe_fault(error)}
        self.steps.clean(key)
        self._ledger.refused(key, code, sentence, remedy)
        with work_on(key):
            logger.info("refused", extra={"code": code})
        record = self._ledger.known(key)
        if code in ABANDONED:
            if record.orthanc_id is not None:
                self.abandoned(record.orthanc_id)
            return {"destinations": []}
        return {"destinations": self.deliveries.enter(key, refused=True) if record.archived else []}

    def _plan_retry(self, key: str, fault: str) -> Outcome:
        record = self._ledger.known(key)
        failures = record.failures + 1
        if record.source == "upload" and not record.archived:
            if failures >= UPLOAD_ATTEMPTS:
                self.steps.clean(key)
                self._ledger.failing(key, fault, None)
                return {}
            pause = UPLOAD_PAUSE_S
        else:
            pause = pause_s(failures, self.worker.retry_first_s, self.worker.retry_longest_s)
        self._ledger.failing(key, fault, pause)
        return {"turn": self._ledger.known(key).turn, "pause_s": pause}

    def hasten(self, key: str) -> None:
        """Try now what waits for its next try."""
        self.durable.hasten(run_id(key, self._ledger.known(key).turn))

    def resume(self) -> None:
        """Enter what the ledger has as unfinished and is not under way."""
        for record in self._ledger.unfinished():
            if record.images != NOT_EXAMINED:
                self._resume_one(record)

    def _resume_one(self, record: WorkRecord) -> None:
        active = self.durable.is_active(run_id(record.key, record.turn))
        if active:
            return
        if active is False:
            now = self._ledger.known(record.key)
            if now.ended or now.turn != record.turn:
                return
            self._ledger.failing(record.key, RUN_LOST, 0)
        self.enqueue(record.key)
