"""Results to one destination: to a PACS the report, its key images, then the originals where they are wanted;
to an HL7 receiver a message."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread

from dicom_node.cstore import Peer, SentObject, send_objects
from dicom_node.data_folder import DataFolder, write_once
from dicom_node.destination_objects import files_for
from dicom_node.destination_settings import Destination, DestinationSettings, Hl7DestinationSettings
from dicom_node.errors import ArchiveMissing, ObjectsRefused, Superseded
from dicom_node.ledger import Ledger
from dicom_node.ledger_records import WorkRecord
from dicom_node.mllp import Receiver, send_message
from dicom_node.orthanc import Orthanc
from inference.study_result import StudyResult
from structured_report.language import Words
from structured_report.observation_message import (
    MessageParties,
    ObservationMessage,
    message_control_id,
    observation_message,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Delivery:
    """Sends what a key made; the same bytes each time, so that a repeat makes no second object."""

    ledger: Ledger
    orthanc: Orthanc
    folder: DataFolder
    calling_aet: str
    words: Words

    def send(self, key: str, destination: Destination) -> None:
        """Send everything once and record it as delivered.

        Raises
        ------
        SendError
            If the destination did not store everything.
        Superseded
            If the destination is a worklist, and there is a later answer about the study.
        TextNotFitting
            If the destination's character set lacks a character of what it is to get.
        ArchiveError
            If the originals cannot be had from the archive.
        """
        count = self._tell(key, destination) if destination.kind == "hl7" else self._store(key, destination)
        self.ledger.deliveries.delivered(key, destination.name, count)
        logger.info("delivered", extra={"destination": destination.name, "objects": count})

    def _tell(self, key: str, destination: Hl7DestinationSettings) -> int:
        """Send the message about a key; its bytes are written once for what the settings say of it.

        A receiver keeps the message that came last, so that none is sent after that of a later answer.
        """
        if is_superseded(self.ledger, self.ledger.known(key)):
            raise Superseded
        variant = self._variant(destination)
        file = self.folder.results(key) / f"oru-{variant}.hl7"
        if not file.exists():
            message = self._message(key, destination, variant)
            if message is None:
                return 0
            write_once(file, message.content)
        started = time.monotonic()
        receiver = Receiver(destination.host, destination.port, destination.timeout_s)
        send_message(receiver, file.read_bytes(), message_control_id(key, variant))
        self.ledger.record_seconds(key, {f"deliver:{destination.name}": time.monotonic() - started})
        return 1

    def _variant(self, destination: Hl7DestinationSettings) -> str:
        """The destination's name with a digest of all settings that its messages are made by."""
        told = destination.model_dump_json(
            exclude={"host", "port", "timeout_s", "retry_first_s", "retry_longest_s"}
        )
        digest = hashlib.sha256(f"{told}{self.words.language}".encode()).hexdigest()
        return f"{destination.name}-{digest[:12]}"

    def _message(
        self, key: str, destination: Hl7DestinationSettings, variant: str
    ) -> ObservationMessage | None:
        """None where there is no report, as of a NIfTI volume."""
        report = next((item.path for item in self.ledger.objects.of(key) if item.kind == "sr"), None)
        if report is None:
            return None
        result = StudyResult.from_json(json.loads(self.folder.result_file(key).read_bytes()))
        parties = MessageParties(
            destination.sending_application,
            destination.sending_facility,
            destination.receiving_application,
            destination.receiving_facility,
        )
        return observation_message(
            result,
            dcmread(report),
            parties,
            destination=variant,
            top_findings=destination.top_findings,
            link=destination.link,
            words=self.words,
        )

    def _store(self, key: str, destination: DestinationSettings) -> int:
        """Send everything by C-STORE; how many objects that were."""
        # The results on an association of their own: they do not wait until the originals are fetched.
        results = files_for(key, destination, self.ledger, self.folder)
        sent = self._send(key, "deliver", destination, results)
        if destination.forward_originals:
            spool = self.folder.work(f"{key}-{destination.name}")
            try:
                sent += self._send(key, "originals", destination, self._originals(key, spool))
            finally:
                shutil.rmtree(spool, ignore_errors=True)
        _require_stored(sent, destination)
        return len(sent)

    def _send(
        self, key: str, stage: str, destination: DestinationSettings, paths: list[Path]
    ) -> list[SentObject]:
        """Send files, and record how long that took."""
        if not paths:
            return []
        started = time.monotonic()
        peer = Peer(destination.host, destination.port, destination.aet, destination.timeout_s)
        sent = send_objects(peer, paths, calling_aet=self.calling_aet)
        self.ledger.record_seconds(key, {f"{stage}:{destination.name}": time.monotonic() - started})
        return sent

    def _originals(self, key: str, spool: Path) -> list[Path]:
        """Every instance of the study that is not ours, as the archive received it."""
        record = self.ledger.known(key)
        if record.orthanc_id is None:
            return []
        try:
            study = self.orthanc.study(record.orthanc_id)
        except ArchiveMissing:
            # The study was removed from the archive meanwhile; what it made is still delivered. (A single
            # instance that is missing is another matter: it may be just about to be replaced.)
            logger.warning("originals are no longer in the archive")
            return []
        series = [self.orthanc.series(series_id) for series_id in study.series_ids]
        own = self.ledger.objects.own_series(item.series_uid for item in series)
        wanted = [item for item in series if item.series_uid not in own]
        return self._fetch((instance for item in wanted for instance in item.instance_ids), spool)

    def _fetch(self, instance_ids: Iterable[str], spool: Path) -> list[Path]:
        spool.mkdir(mode=0o700, parents=True, exist_ok=True)
        paths = []
        for number, instance_id in enumerate(instance_ids):
            path = spool / f"{number:05}.dcm"
            self.orthanc.fetch_instance(instance_id, path)
            paths.append(path)
        return paths


def is_superseded(ledger: Ledger, record: WorkRecord) -> bool:
    """Whether a later answer about the study belongs into the archive and to the destinations."""
    for other in ledger.recent(study_uid=record.study_uid):
        if other.key == record.key:
            return False
        if other.state == "reported" and other.archived:
            return True
    return False


def _require_stored(sent: list[SentObject], destination: DestinationSettings) -> None:
    missing = [item for item in sent if not item.stored]
    if missing:
        raise ObjectsRefused(
            f"{destination.aet} did not store {len(missing)} of {len(sent)} objects;"
            f" first: {missing[0].error}"
        )
