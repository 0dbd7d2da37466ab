"""The durable runs of deliveries: for each key and destination, until the destination has everything.

A fault ends the run and enters the next one with a growing delay. What would not change by waiting is given
up: it is tried again at the next start, when the settings may be others, or when a person asks.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from dicom_node.delivery import Delivery
from dicom_node.destination_settings import Destination
from dicom_node.durable import Durable, Outcome
from dicom_node.errors import Superseded, TextNotFitting, describe_fault
from dicom_node.ledger import Ledger
from dicom_node.ledger_records import DeliveryRecord
from dicom_node.log import work_on
from dicom_node.retries import RUN_LOST, pause_s, run_id
from inference.errors import Refusal, RefusalCode

logger = logging.getLogger(__name__)

DELIVERY = "delivery"
"""The name under which these runs are stored."""
ASSOCIATIONS = 2
"""Deliveries to one PACS at once: the originals of one study do not hold up the report of the next."""


@dataclass(frozen=True)
class DeliveryRuns:
    """Durable work on deliveries.

    `require_accepted` raises a Refusal for a key whose images were rejected meanwhile.
    """

    durable: Durable
    delivery: Delivery
    destinations: tuple[Destination, ...]
    require_accepted: Callable[[str], None]

    @property
    def _ledger(self) -> Ledger:
        return self.delivery.ledger

    @property
    def queues(self) -> dict[str, int]:
        """A queue for each destination, so that one that is away holds no other up, and its runs at once."""
        return {_queue_of(item.name): _at_once(item) for item in self.destinations}

    def enter(self, key: str, *, refused: bool) -> list[str]:
        """Enter the deliveries that a key makes into the ledger, and return their destinations."""
        if self._ledger.known(key).code == RefusalCode.IMAGES_REJECTED:
            return []
        made = {item.kind for item in self._ledger.objects.of(key)}
        wanted = [
            item.name
            for item in self.destinations
            if item.wants_originals or (made and (not refused or item.wants_any(made)))
        ]
        for name in wanted:
            self._ledger.deliveries.add(key, name)
        return wanted

    def enqueue(self, key: str, destinations: Iterable[str]) -> None:
        """Deliver to destinations that were entered; what is under way already stays as it is."""
        for name in destinations:
            self.durable.enqueue(_queue_of(name), DELIVERY, _delivery_id(key, name, 0), key, name)

    def run(self, key: str, name: str) -> None:
        """The durable run of one delivery; a destination that is away is tried for ever."""
        with work_on(key):
            outcome = self.durable.step("send", self._attempt, key, name)
            if "turn" in outcome:
                run = _delivery_id(key, name, outcome["turn"])
                self.durable.enqueue(_queue_of(name), DELIVERY, run, key, name, delay_s=outcome["pause_s"])

    def _attempt(self, key: str, name: str) -> Outcome:
        """Send, and say when to try again where that is worth it."""
        destination = next((item for item in self.destinations if item.name == name), None)
        if destination is None:
            self._ledger.deliveries.failing(key, name, "the destination is no longer in the settings", None)
            return {}
        with work_on(key):
            try:
                self.require_accepted(key)
                self.delivery.send(key, destination)
            except Refusal as refusal:
                self._ledger.deliveries.stopped(key, name, refusal.sentence)
                logger.info("not delivered", extra={"destination": name, "code": refusal.code.value})
                return {}
            except Superseded as later:
                self._ledger.deliveries.stopped(key, name, str(later))
                logger.info("not delivered", extra={"destination": name, "code": later.code})
                return {}
            except TextNotFitting as error:
                self._ledger.deliveries.failing(key, name, str(error), None)
                logger.warning("not delivered", extra={"destination": name, "fault": str(error)})
                return {}
            except Exception as error:  # noqa: BLE001 - a fault of any kind is to be seen and retried
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
            self._resume_one(key, delivery)
        else:
            deliveries.again(key, name)
            self.durable.enqueue(_queue_of(name), DELIVERY, run, key, name)

    def resume(self, *, given_up: bool) -> None:
        """Enter what the ledger has as due and is not under way; with `given_up` what was given up, too."""
        configured = {item.name for item in self.destinations}
        for key, delivery in self._ledger.deliveries.due():
            if delivery.destination not in configured or (delivery.given_up and not given_up):
                continue
            self._resume_one(key, delivery)

    def _resume_one(self, key: str, delivery: DeliveryRecord) -> None:
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
        self.durable.enqueue(_queue_of(name), DELIVERY, _delivery_id(key, name, turn), key, name)


def _at_once(destination: Destination) -> int:
    """Messages follow one another: the receiver keeps the one that comes last."""
    return 1 if destination.kind == "hl7" else ASSOCIATIONS


def _queue_of(destination: str) -> str:
    return f"deliver-{destination}"


def _delivery_id(key: str, destination: str, turn: int) -> str:
    return run_id(f"{key}:{destination}", turn)
