"""One study of the archive: is there work to do, and which?

Headers of every series that is not ours, the choice of a series, the checksums of the chosen instances as the
archive has them, the key; then a row in the ledger and durable work. The same images never make work twice: a
duplicate event, a late series that does not change the choice, and our own report stored into the study all
end here.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from dicom_node.errors import ArchiveMissing, describe_fault
from dicom_node.key_maker import KeyMaker
from dicom_node.ledger import Ledger
from dicom_node.ledger_records import NOT_EXAMINED, NewWork, WorkRecord
from dicom_node.log import work_on
from dicom_node.orthanc import ArchiveSeries, ArchiveStudy, Orthanc
from dicom_node.plan import PlannedInstance, WorkPlan
from dicom_node.rejection_notes import RejectionNote, rejection_notes
from dicom_node.steps import ABANDONED, ImagesChanged, images_rejected
from dicom_node.work_queue import WorkQueue
from inference.errors import SeriesRefusal
from inference.instance_header import InstanceHeader
from inference.series import SeriesChoice, choose_series

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Examiner:
    """Examines studies of the archive; used by one thread at a time, but for `again`."""

    orthanc: Orthanc
    ledger: Ledger
    keys: KeyMaker
    queue: WorkQueue
    _asking: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def examine(self, orthanc_id: str) -> None:
        """Look at one study and enter the work that it makes, if any.

        A study that still grows is left alone: its images would be analysed in part, and `last_update`, one
        second fine, could not tell it from what it becomes. It is named again when it is stable.

        Waits while another bundle takes over.

        Raises
        ------
        ArchiveError
            If Orthanc does not answer; the study is then to be examined again.
        """
        with self.keys.taking_in.passing():
            self._look_at(orthanc_id)

    def _look_at(self, orthanc_id: str) -> None:
        try:
            study = self.orthanc.study(orthanc_id)
        except ArchiveMissing:
            self._gone(orthanc_id)
            return
        latest = self.ledger.latest(study.study_uid)
        if not study.stable or (latest is not None and latest.source == "upload" and not latest.ended):
            # The latter: an upload's originals are on their way into the archive, perhaps half of them there.
            return
        abandoned = latest is not None and latest.code in ABANDONED
        if self.ledger.memory.seen_at(orthanc_id) == study.last_update and not abandoned:
            return
        self._examine(study)
        # By Orthanc's identifier, since the key of that row names the bundle that was in use then.
        waiting = self.ledger.unexamined(orthanc_id)
        if waiting is not None:
            self.ledger.withdraw(waiting)
        self.ledger.memory.see(orthanc_id, study.last_update)

    def record_fault(self, orthanc_id: str, error: Exception, retry_in_s: float) -> None:
        """Make a study that cannot be examined visible in the ledger until it can.

        Raises
        ------
        ArchiveError
            If Orthanc does not even know which study it is: then the fault is Orthanc's.
        """
        try:
            study = self.orthanc.study(orthanc_id)
        except ArchiveMissing:
            return
        key = self.ledger.unexamined(orthanc_id) or self._unexaminable(study.study_uid)
        plan = WorkPlan(study_uid=study.study_uid, series_uid="", instances=(), decisions=())
        self.ledger.add(
            NewWork(
                key=key,
                source="archive",
                plan=plan,
                purpose="archive",
                images=NOT_EXAMINED,
                orthanc_id=orthanc_id,
            )
        )
        self.ledger.failing(key, describe_fault(error), retry_in_s)

    def again(self, record: WorkRecord) -> str:
        """Enter the study of `record` as a new attempt, and return its key; work that is under way is enough.

        Two requests at once, as by a double click, are one attempt.

        Raises
        ------
        ArchiveError
            If the study is not in the archive, as most uploads are not.
        """
        if record.orthanc_id is None:
            raise ArchiveMissing("the study is not in the archive: upload it again")
        with self._asking:
            latest = self.ledger.latest(record.study_uid) or record
            if not latest.ended:
                return latest.key
            with self.keys.taking_in.passing():
                study = self.orthanc.study(record.orthanc_id)
                return self._enter(study, self._foreign(study), again=True)

    def _gone(self, orthanc_id: str) -> None:
        """The study is no longer in the archive."""
        self.ledger.memory.forget([orthanc_id])
        waiting = self.ledger.unexamined(orthanc_id)
        if waiting is not None:
            self.ledger.refused(waiting, ImagesChanged.code, ImagesChanged.sentence, ImagesChanged.remedy)

    def _examine(self, study: ArchiveStudy) -> None:
        series = self._foreign(study)
        if not any(item.instance_ids for item in series):
            return
        self._enter(study, series, again=False)

    def _enter(self, study: ArchiveStudy, series: Sequence[ArchiveSeries], *, again: bool) -> str:
        """The key of what the study holds now; work for it is entered unless it is known."""
        latest = self.ledger.latest(study.study_uid)
        try:
            plan = self.keys.for_bundle(self._plan(study, series))
        except SeriesRefusal as refusal:
            return self._refuse(study, refusal, latest)
        before = self.ledger.latest(study.study_uid, images=plan.images)
        abandoned = before is not None and before.code in ABANDONED
        newest = before is not None and latest is not None and before.key == latest.key
        if before is not None and newest and not (again or abandoned):
            self.ledger.redecide(before.key, plan)
            if before.state == "refused":
                self.queue.enqueue_originals(before.key)
            return before.key
        attempt = 0
        if before is not None:
            attempt = before.attempt + 1 if again or abandoned else before.attempt
        key = self.keys.key(plan, attempt).hex
        work = NewWork(
            key=key,
            source="archive",
            plan=plan,
            purpose="archive",
            images=plan.images,
            orthanc_id=study.orthanc_id,
            attempt=attempt,
            predecessor=latest.key if latest is not None else None,
        )
        with work_on(key):
            if self.ledger.add(work):
                logger.info("study queued", extra={"instances": len(plan.instances)})
                self.queue.enqueue_study(key)
            elif self.ledger.archive(key, plan, study.orthanc_id):
                # The same bytes were uploaded before, for an answer only; now they are in the archive.
                if self.ledger.known(key).state == "refused":
                    self.queue.enqueue_originals(key)
                else:
                    self.queue.enqueue_study(key)
        return key

    def _refuse(self, study: ArchiveStudy, refusal: SeriesRefusal, latest: WorkRecord | None) -> str:
        key = self.keys.refusal_key(study.study_uid, refusal.code.value).hex
        if latest is not None and latest.code is None:
            # Images that were analysed are not un-analysed because others were removed.
            return latest.key
        decisions = refusal.decisions
        plan = WorkPlan(study_uid=study.study_uid, series_uid="", instances=(), decisions=decisions)
        work = NewWork(
            key=key,
            source="archive",
            plan=plan,
            purpose="archive",
            images=refusal.code.value,
            orthanc_id=study.orthanc_id,
            predecessor=latest.key if latest is not None else None,
        )
        to_tell = bool(self.keys.report_settings.refusal_kinds(refusal.code))
        with work_on(key):
            if self.ledger.add(work, refusal, to_tell=to_tell):
                logger.info("refused", extra={"code": refusal.code.value})
            # Even where it is known: the process may have ended just here.
            if self.ledger.known(key).ended:
                self.queue.enqueue_originals(key)
            else:
                self.queue.enqueue_study(key)
        return key

    def _foreign(self, study: ArchiveStudy) -> list[ArchiveSeries]:
        """The study's series that are not ours."""
        series = [self.orthanc.series(series_id) for series_id in study.series_ids]
        own = self.ledger.objects.own_series(item.series_uid for item in series)
        return [item for item in series if item.series_uid not in own]

    def _plan(self, study: ArchiveStudy, series: Sequence[ArchiveSeries]) -> WorkPlan:
        headers: list[InstanceHeader] = []
        locations: dict[tuple[str, str], str] = {}
        notes: list[RejectionNote] = []
        for item in series:
            datasets = self.orthanc.headers(item.orthanc_id)
            notes += rejection_notes(datasets.values())
            for instance_id, dataset in datasets.items():
                try:
                    header = InstanceHeader.from_dataset(dataset)
                except ValueError:
                    # No image of any series; it must not keep the others from being read.
                    logger.warning("an instance without UIDs was left out", extra={"orthanc_id": instance_id})
                    continue
                headers.append(header)
                locations[header.series_uid, header.sop_instance_uid] = instance_id
        choice = self._choice(study, headers, notes)
        chosen = {uid: locations[choice.series_uid, uid] for uid in choice.sop_instance_uids}
        return WorkPlan(
            study_uid=study.study_uid,
            series_uid=choice.series_uid,
            instances=tuple(
                PlannedInstance(uid, location, self.orthanc.instance_md5(location))
                for uid, location in chosen.items()
            ),
            decisions=choice.decisions,
            warnings=choice.warnings,
        )

    def _choice(
        self, study: ArchiveStudy, headers: Sequence[InstanceHeader], notes: Sequence[RejectionNote]
    ) -> SeriesChoice:
        """The series to analyse of what nobody rejected."""
        self.ledger.feedback.record(study.study_uid, notes, {header.sop_instance_uid for header in headers})
        rejected = self.ledger.feedback.not_to_read(study.study_uid)
        accepted = [header for header in headers if header.sop_instance_uid not in rejected]
        try:
            return choose_series(accepted)
        except SeriesRefusal as refusal:
            if len(accepted) == len(headers):
                raise
            raise images_rejected(len(headers) - len(accepted), refusal.decisions) from refusal

    def _unexaminable(self, study_uid: str) -> str:
        return self.keys.refusal_key(study_uid, NOT_EXAMINED).hex
