"""Results to one destination: structured report, key images, then the originals where they are wanted."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dicom_node.cstore import Peer, SentObject, send_objects
from dicom_node.data_folder import DataFolder
from dicom_node.errors import ArchiveMissing, ObjectsRefused
from dicom_node.ledger import Ledger
from dicom_node.orthanc import Orthanc
from dicom_node.settings import DestinationSettings

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Delivery:
    """Sends what a key made; the same bytes each time, so that a repeat makes no second object."""

    ledger: Ledger
    orthanc: Orthanc
    folder: DataFolder
    calling_aet: str

    def send(self, key: str, destination: DestinationSettings) -> None:
        """Send everything once and record it as delivered.

        Raises
        ------
        SendError
            If the destination did not store everything.
        ArchiveError
            If the originals cannot be had from the archive.
        """
        # The results on an association of their own: they do not wait until the originals are fetched.
        results = [item.path for item in self.ledger.objects(key)]
        sent = self._send(key, "deliver", destination, results)
        if destination.forward_originals:
            spool = self.folder.work(f"{key}-{destination.name}")
            try:
                sent += self._send(key, "originals", destination, self._originals(key, spool))
            finally:
                shutil.rmtree(spool, ignore_errors=True)
        _require_stored(sent, destination)
        self.ledger.deliveries.delivered(key, destination.name, len(sent))
        logger.info("delivered", extra={"destination": destination.name, "objects": len(sent)})

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
        own = self.ledger.own_series(item.series_uid for item in series)
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


def pause_s(failures: int, first_s: float, longest_s: float) -> float:
    """Seconds until the next attempt after so many failures: doubling from `first_s` up to `longest_s`."""
    return min(first_s * 2.0 ** min(max(failures - 1, 0), 32), longest_s)


def _require_stored(sent: list[SentObject], destination: DestinationSettings) -> None:
    missing = [item for item in sent if not item.stored]
    if missing:
        raise ObjectsRefused(
            f"{destination.aet} did not store {len(missing)} of {len(sent)} objects;"
            f" first: {missing[0].error}"
        )
