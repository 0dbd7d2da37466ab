"""What a person may ask of a running node beside its own course: send again, try now, test a destination."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from dicom_node.cstore import Peer, verify
from dicom_node.delivery import is_superseded
from dicom_node.destination_settings import Destination
from dicom_node.errors import NodeError
from dicom_node.ledger import Ledger
from dicom_node.ledger_records import NOT_EXAMINED, WorkRecord
from dicom_node.log import work_on
from dicom_node.mllp import Receiver, reach
from dicom_node.settings import Settings
from dicom_node.workflow import StudyWorkflows

logger = logging.getLogger(__name__)


class NothingToSend(NodeError):  # noqa: N818 - as the rest of its tree
    """A destination is to get what the work does not have."""


@dataclass(frozen=True)
class Operations:
    """`hint` is called with Orthanc's identifier of a study that is to be looked at.

    Methods raise KeyError for a key or a destination that is unknown.
    """

    settings: Settings
    ledger: Ledger
    workflows: StudyWorkflows
    hint: Callable[[str], None]

    def can_send(self, record: WorkRecord, destination: str) -> bool:
        """Whether the work has something for a destination."""
        wanted = self._destination(destination)
        if not (record.ended and record.archived):
            return False
        if wanted.kind == "hl7":
            return record.state == "reported" and not is_superseded(self.ledger, record)
        made = [item.kind for item in self.ledger.objects.of(record.key)]
        return wanted.wants_originals or wanted.wants_any(made)

    def send_again(self, key: str, destination: str) -> None:
        """Send the stored objects of `key` to a destination once more, byte for byte the same.

        What waits there for its next try is tried now.

        Raises
        ------
        NothingToSend
            If the work has nothing for that destination.
        """
        if not self.can_send(self.ledger.known(key), destination):
            raise NothingToSend("there is nothing of this study to be sent there")
        with work_on(key):
            logger.info("to be sent again, as a person asks", extra={"destination": destination})
        self.workflows.deliveries.send_again(key, destination)

    def try_now(self, key: str) -> None:
        """Work that waits for its next try is tried at once."""
        record = self.ledger.known(key)
        with work_on(key):
            logger.info("to be tried now, as a person asks")
        if record.images == NOT_EXAMINED and record.orthanc_id is not None:
            self.hint(record.orthanc_id)
        else:
            self.workflows.studies.hasten(key)

    def echo(self, destination: str) -> float:
        """C-ECHO to a PACS, a connection to an HL7 receiver; the seconds that it took.

        Raises
        ------
        SendError
            If it does not answer.
        """
        item = self._destination(destination)
        started = time.monotonic()
        if item.kind == "hl7":
            reach(Receiver(item.host, item.port, item.timeout_s))
        else:
            peer = Peer(item.host, item.port, item.aet, item.timeout_s)
            verify(peer, calling_aet=self.settings.calling_aet)
        return time.monotonic() - started

    def _destination(self, name: str) -> Destination:
        found = next((item for item in self.settings.destinations if item.name == name), None)
        if found is None:
            raise KeyError(name)
        return found
