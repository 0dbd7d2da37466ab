"""The path of one study: fetch, analyse, report, store, then a delivery of its own for each destination.

A refusal is a normal end. A fault ends the durable run and enters the next one with a growing delay, so that
what waits for a retry holds no place in the queue and no other study up; results that exist are not made
again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from dicom_node.active_bundle import BundleReplaced
from dicom_node.delivery import Delivery, pause_s
from dicom_node.durable import Durable, Outcome
from dicom_node.errors import describe_fault
from dicom_node.ledger import DeliveryRecord, Ledger, WorkRecord
from dicom_node.ledger_records import NOT_EXAMINED, Purpose, State
from dicom_node.log import work_on
from dicom_node.refusal_reports import RefusalReports
from dicom_node.settings import Destination, WorkerSettings
from dicom_node.steps import ABANDONED, ImagesChanged, StudySteps
from inference.errors import Refusal, RefusalCode

logger = logging.getLogger(__name__)

STUDIES = "studies"
UPLOAD_ATTEMPTS = 3
"""Runs of an upload that is not archived: somebody waits for its answer, and its files must not stay."""
UPLOAD_PAUSE_S = 1.0
RUN_LOST = "the run ended without a result"
ASSOCIATIONS = 2
"""Deliveries to one destination at once: the originals of one study do not hold up the report of the next."""

_POLL_S = 0.25
_MADE_FOR: dict[Purpose, tuple[str, ...]] = {
    "answer": (),
    "objects": ("report",),
    "archive": ("report", "store"),
}


@dataclass(frozen=True)
class StudyWorkflows:
    """Durable work on studies and deliveries.

    `abandoned` is called with Orthanc's identifier of a study whose work ended without an answer, since its
    images or the bundle changed meanwhile, so that it is examined again.
    """

    durable: Durable
    steps: StudySteps
    refusals: RefusalReports
    delivery: Delivery
    worker: WorkerSettings
    destinations: tuple[Destination, ...]
    abandoned: Callable[[str], None]

    @property
    def _ledger(self) -> Ledger:
        return self.steps.ledger

    def start(self) -> None:
        """Take up what was under way, and enter anew what stands in the ledger only."""
        queues = {STUDIES: self.worker.concurrency}
        queues.update({_queue_of(item.name): ASSOCIATIONS for item in self.destinations})
        self.durable.start({"study": self._study, "delivery": self._deliver}, queues, _POLL_S)
        self.resume()

    def enqueue_study(self, key: str) -> None:
        """Do what is left to do for a key."""
        turn = self._ledger.known(key).turn
        self.durable.enqueue(STUDIES, "study", _run_id(key, turn), key)

    def enqueue_originals(self, key: str) -> None:
        """Deliver the originals of a refused study to the destinations that want originals."""
        self._enqueue_deliveries(key, self._destinations_of(key, refused=True))

    def _study(self, key: str) -> None:
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
            self._enqueue_deliveries(key, ended["destinations"])

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
                self._enqueue_deliveries(key, outcome["destinations"])
                return False
        if "fault" in outcome:
            retry = self.durable.step("retry", self._plan_retry, key, outcome["fault"])
            if "turn" in retry:
                self.durable.enqueue(
                    STUDIES, "study", _run_id(key, retry["turn"]), key, delay_s=retry["pause_s"]
                )
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
        names = self._destinations_of(key, refused=False) if purpose == "archive" else []
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
        return {"destinations": self._destinations_of(key, refused=True) if record.archived else []}

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

    def _destinations_of(self, key: str, *, refused: bool) -> list[str]:
        """Enter the deliveries that a key makes, and return their destinations."""
        if self._ledger.known(key).code == RefusalCode.IMAGES_REJECTED:
            return []
        made = {item.kind for item in self._ledger.objects(key)}
        wanted = [
            item.name
            for item in self.destinations
            if item.wants_originals or (made and (not refused or item.wants_any(made)))
        ]
        for name in wanted:
            self._ledger.deliveries.add(key, name)
        return wanted

    def _enqueue_deliveries(self, key: str, destinations: Iterable[str]) -> None:
        for name in destinations:
            self.durable.enqueue(_queue_of(name), "delivery", _delivery_id(key, name, 0), key, name)

    def _deliver(self, key: str, name: str) -> None:
        """The durable run of one delivery; a destination that is away is tried for ever."""
        with work_on(key):
            outcome = self.durable.step("send", self._attempt_delivery, key, name)
            if "turn" in outcome:
                run = _delivery_id(key, name, outcome["turn"])
                self.durable.enqueue(_queue_of(name), "delivery", run, key, name, delay_s=outcome["pause_s"])

    def _attempt_delivery(self, key: str, name: str) -> Outcome:
        destination = next((item for item in self.destinations if item.name == name), None)
        if destination is None:
            self._ledger.deliveries.failing(key, name, "the destination is no longer in the settings", None)
            return {}
        with work_on(key):
            try:
                self.steps.require_accepted(key)
                self.delivery.send(key, destination)
            except Refusal as refusal:
                self._ledger.deliveries.stopped(key, name, refusal.sentence)
                logger.info("not delivered", extra={"destination": name, "code": refusal.code.value})
                return {}
            except Exception as error:  # noqa: BLE001 - as in _attempt
                fault = describe_fault(error)
                logger.warning("not delivered", extra={"destination": name, "fault": fault})
            else:
                return {}
        attempts = self._ledger.deliveries.get(key, name).attempts + 1
        pause = pause_s(attempts, destination.retry_first_s, destination.retry_longest_s)
        self._ledger.deliveries.failing(key, name, fault, pause)
        return {"turn": attempts, "pause_s": pause}

    def send_again(self, key: str, name: str) -> None:
        """Send what a key made to a destination: once more, or now where it waits for its next try.

        What is being sent, or stands in the queue, stays as it is.

        Raises
        ------
        KeyError
            If there is no such destination in the settings.
        """
        if name not in {item.name for item in self.destinations}:
            raise KeyError(name)
        deliveries = self._ledger.deliveries
        deliveries.add(key, name)
        delivery = deliveries.get(key, name)
        run = _delivery_id(key, name, delivery.attempts)
        active = self.durable.is_active(run)
        if active:
            self.durable.hasten(run)
        elif active is False:
            self._resume_delivery(key, delivery)
        else:
            deliveries.again(key, name)
            self.durable.enqueue(_queue_of(name), "delivery", run, key, name)

    def hasten_study(self, key: str) -> None:
        """Try now what waits for its next try."""
        self.durable.hasten(_run_id(key, self._ledger.known(key).turn))

    def resume(self) -> None:
        """Enter what the ledger knows as unfinished and the store of workflows does not have under way.

        At the start, and now and then: a run may end on a fault of the databases themselves.
        """
        self.durable.revive()
        for record in self._ledger.unfinished():
            if record.images != NOT_EXAMINED:
                self._resume_study(record)
        configured = {item.name for item in self.destinations}
        for key, delivery in self._ledger.deliveries.due():
            if delivery.destination not in configured:
                continue
            self._resume_delivery(key, delivery)

    def _resume_delivery(self, key: str, delivery: DeliveryRecord) -> None:
        name, turn = delivery.destination, delivery.attempts
        active = self.durable.is_active(_delivery_id(key, name, turn))
        if active:
            return
        if active is False:
            now = self._ledger.deliveries.get(key, name)
            if now.state == "delivered" or now.attempts != turn:
                return
            self._ledger.deliveries.failing(key, name, RUN_LOST, 0)
            turn += 1
        self.durable.enqueue(_queue_of(name), "delivery", _delivery_id(key, name, turn), key, name)

    def _resume_study(self, record: WorkRecord) -> None:
        active = self.durable.is_active(_run_id(record.key, record.turn))
        if active:
            return
        if active is False:
            now = self._ledger.known(record.key)
            if now.ended or now.turn != record.turn:
                return
            self._ledger.failing(record.key, RUN_LOST, 0)
        self.enqueue_study(record.key)


def _queue_of(destination: str) -> str:
    return f"deliver-{destination}"


def _run_id(key: str, turn: int) -> str:
    """Id of the durable run: the key itself, and a number from the second run on."""
    return key if turn == 0 else f"{key}.{turn}"


def _delivery_id(key: str, destination: str, turn: int) -> str:
    return _run_id(f"{key}:{destination}", turn)
