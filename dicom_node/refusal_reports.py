"""What the archive and the PACS get of a refused study, where the settings ask for it."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from pydicom.dataset import Dataset

from dicom_node.data_folder import DataFolder, write_once
from dicom_node.earlier_reports import succeeded_by_notice
from dicom_node.errors import ArchiveMissing
from dicom_node.kept_objects import kept_object, report_context
from dicom_node.ledger import Ledger
from dicom_node.ledger_records import WorkRecord
from dicom_node.orthanc import ArchiveSeries, Orthanc
from dicom_node.settings import RefusalKind, ReportSettings
from inference.dicom_files import source_headers
from inference.errors import VolumeRefusal
from structured_report import RefusedStudy, ReportError, refusal_objects

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RefusalReports:
    """Makes the objects about refused studies of the archive, once under their key, and stores them there."""

    ledger: Ledger
    orthanc: Orthanc
    folder: DataFolder
    settings: ReportSettings
    software_version: str

    def tell(self, key: str, code: str, sentence: str, remedy: str) -> None:
        """Make and store what the settings ask for of this refusal; nothing of an upload.

        Where nothing can be made (the images are gone, or their text cannot be taken over), a line in the
        log says so, and the refusal stands in the ledger alone.

        Raises
        ------
        ArchiveError
            If the archive does not answer or does not store.
        """
        record = self.ledger.known(key)
        kinds = self.settings.refusal_kinds(code)
        if not kinds or record.source != "archive" or not record.archived:
            return
        self.ledger.refusal_known(key, code, sentence, remedy)
        started = time.monotonic()
        if not self.ledger.objects.of(key):
            file = self.folder.results(key) / "refusal.json"
            refused = RefusedStudy(
                key=key,
                study_uid=record.study_uid,
                code=code,
                sentence=sentence,
                remedy=remedy,
                refused_at=datetime.now(UTC).isoformat(),
                software_version=self.software_version,
            )
            write_once(file, json.dumps(asdict(refused), ensure_ascii=False).encode())
            try:
                self._make(record, RefusedStudy(**json.loads(file.read_bytes())), kinds)
            except (ArchiveMissing, ReportError, VolumeRefusal) as error:
                logger.warning("no object tells of the refusal", extra={"reason": type(error).__name__})
                return
        for item in self.ledger.objects.of(key):
            self.orthanc.store(item.path.read_bytes())
        self.ledger.record_seconds(key, {"report": time.monotonic() - started})

    def _make(self, record: WorkRecord, refused: RefusedStudy, kinds: tuple[RefusalKind, ...]) -> None:
        headers = self._headers(record)
        context = report_context(self.folder, self.settings, succeeded_by_notice(self.ledger, record))
        made = refusal_objects(refused, headers, context, kinds=kinds)
        records = [kept_object(self.folder, record.key, number, item) for number, item in enumerate(made)]
        # Before any of them leaves, so that none of them ever makes work.
        self.ledger.objects.add(record.key, records)
        logger.info("report of a refusal made", extra={"objects": len(records)})

    def _headers(self, record: WorkRecord) -> list[Dataset]:
        """Of the refused series' images, the first one in full."""
        series = self._series(record)
        headers = self.orthanc.headers(series.orthanc_id)
        first, *others = sorted(headers)
        file = self.folder.work(record.key) / "refused.dcm"
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.orthanc.fetch_instance(first, file)
        (whole,) = source_headers([file])
        return [whole, *(headers[instance] for instance in others if _is_named(headers[instance]))]

    def _series(self, record: WorkRecord) -> ArchiveSeries:
        """The chosen series; where none was, the greatest of the study's CT series, or of all."""
        if record.orthanc_id is None:
            raise ArchiveMissing("the study is not in the archive")
        study = self.orthanc.study(record.orthanc_id)
        series = [self.orthanc.series(series_id) for series_id in study.series_ids]
        own = self.ledger.objects.own_series(item.series_uid for item in series)
        foreign = [item for item in series if item.series_uid not in own and item.instance_ids]
        if not foreign:
            raise ArchiveMissing("the study's images are no longer in the archive")
        return max(
            foreign,
            key=lambda item: (
                item.series_uid == record.series_uid,
                item.modality == "CT",
                len(item.instance_ids),
                item.series_uid,
            ),
        )


def _is_named(header: Dataset) -> bool:
    """Whether a reference to the instance can be made."""
    uids = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
    return all(header.get(keyword) for keyword in uids)
