"""Work that an upload makes: the choice of a series and the key, or a row that says why it is refused."""

from __future__ import annotations

import hashlib
import logging
import shutil
import threading
import uuid
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from dicom_node.active_bundle import BundleReplaced
from dicom_node.key_maker import KeyMaker
from dicom_node.ledger import Ledger
from dicom_node.ledger_records import PURPOSES, NewWork, Purpose, WorkRecord
from dicom_node.log import work_on
from dicom_node.plan import PlannedInstance, WorkPlan
from dicom_node.upload_study import uploaded_study
from dicom_node.uploads import Upload
from dicom_node.work_queue import WorkQueue
from inference.errors import Refusal, SeriesRefusal
from inference.preamble import PREAMBLE_BYTES, PREFIX, without_preamble

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class UploadWork:
    """Enters uploads; from then on their folders are the node's to remove."""

    ledger: Ledger
    keys: KeyMaker
    queue: WorkQueue
    reading_timeout_s: float
    _callers: Counter[str] = field(default_factory=Counter)
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def submit(self, upload: Upload, purpose: Purpose) -> str:
        """Enter an upload and return its key; the same images are not analysed twice.

        Waits while another bundle takes over.
        """
        with self.keys.taking_in.passing():
            return self._submit(upload, purpose)

    def _submit(self, upload: Upload, purpose: Purpose) -> str:
        study_uid = ""
        try:
            if upload.kind == "nifti":
                plan = _nifti_plan(upload)
            else:
                study = uploaded_study(upload, self.reading_timeout_s)
                study_uid = study.uid
                choice = study.choose()
                paths = study.files.paths
                plan = WorkPlan(
                    study_uid=choice.study_uid,
                    series_uid=choice.series_uid,
                    instances=tuple(
                        PlannedInstance(uid, str(paths[uid].resolve()), _md5(paths[uid]))
                        for uid in choice.sop_instance_uids
                    ),
                    decisions=choice.decisions,
                    warnings=choice.warnings,
                )
        except Refusal as refusal:
            return self._refuse(upload, study_uid, refusal)
        except BaseException:
            shutil.rmtree(upload.folder, ignore_errors=True)
            raise
        # A NIfTI volume is no DICOM: there is nothing of it to make objects of or to archive.
        if upload.kind != "dicom":
            return self._enter(upload, plan, "answer")
        with self._turn:
            key = self._enter(upload, plan, purpose)
            self._callers[key] += purpose == "objects"
        return key

    def forget_objects(self, key: str) -> None:
        """A caller has the objects, or gave up: they are removed once nobody else waits for them.

        Not while the work goes on: what it makes is for the next caller, or is removed at the next start.
        """
        with self._turn:
            self._callers[key] -= self._callers[key] > 0
            if self._callers[key] > 0 or not self.ledger.known(key).ended:
                return
            del self._callers[key]
            remove_unclaimed(self.ledger, key)

    def _enter(self, upload: Upload, plan: WorkPlan, purpose: Purpose) -> str:
        plan = self.keys.for_bundle(plan)
        key, attempt = self._key(plan)
        latest = self.ledger.latest(plan.study_uid) if purpose == "archive" else None
        work = NewWork(
            key=key,
            source="upload",
            plan=plan,
            purpose=purpose,
            images=plan.images,
            attempt=attempt,
            upload_folder=upload.folder.resolve(),
            upload_name=upload.name if upload.kind == "nifti" else "",
            predecessor=latest.key if latest is not None else None,
        )
        with work_on(key):
            if self.ledger.add(work):
                logger.info("upload queued", extra={"instances": len(plan.instances)})
                self.queue.enqueue_study(key)
            else:
                self._again(self.ledger.known(key), upload, plan, purpose)
        return key

    def _key(self, plan: WorkPlan) -> tuple[str, int]:
        """The key, and the attempt in it: one more for each time that a switch of bundles cut it short."""
        attempt = 0
        while True:
            key = self.keys.key(plan, attempt).hex
            known = self.ledger.work(key)
            if known is None or known.code != BundleReplaced.code:
                return key, attempt
            attempt += 1

    def _again(self, record: WorkRecord, upload: Upload, plan: WorkPlan, purpose: Purpose) -> None:
        """The same images have come before."""
        self.ledger.redecide(record.key, plan)
        more = PURPOSES.index(purpose) > PURPOSES.index(record.purpose)
        if record.state == "refused" or not (more or record.state == "failing"):
            shutil.rmtree(upload.folder, ignore_errors=True)
            return
        if self.ledger.ask(record.key, purpose):
            self.ledger.reopen(record.key, plan, upload.folder.resolve())
        else:
            # The files that are at work are these.
            shutil.rmtree(upload.folder, ignore_errors=True)
        self.queue.enqueue_study(record.key)

    def _refuse(self, upload: Upload, study_uid: str, refusal: Refusal) -> str:
        shutil.rmtree(upload.folder, ignore_errors=True)
        decisions = refusal.decisions if isinstance(refusal, SeriesRefusal) else ()
        plan = WorkPlan(study_uid=study_uid, series_uid="", instances=(), decisions=decisions)
        # Nothing was computed that could be shared: each refused upload has a row of its own.
        key = self.keys.refusal_key(study_uid, f"{refusal.code.value} {uuid.uuid4().hex}").hex
        work = NewWork(key=key, source="upload", plan=plan, purpose="answer", images=refusal.code.value)
        with work_on(key):
            self.ledger.add(work, refusal)
            logger.info("refused", extra={"code": refusal.code.value})
        return key


def remove_unclaimed(ledger: Ledger, key: str) -> None:
    """Remove the objects that were made for callers who are all gone; those of the archive stay."""
    for file in ledger.objects.forget(key):
        file.unlink(missing_ok=True)


def _nifti_plan(upload: Upload) -> WorkPlan:
    file = upload.files[0].resolve()
    return WorkPlan(
        study_uid=f"nifti_{upload.name}",
        series_uid=f"nifti_{upload.name}_series",
        instances=(PlannedInstance("", str(file), _md5(file)),),
        decisions=(),
    )


def _md5(file: Path) -> str:
    """As the archive records it, so that the same bytes make the same key there."""
    digest = hashlib.md5(usedforsecurity=False)
    with file.open("rb") as stream:
        digest.update(without_preamble(stream.read(PREAMBLE_BYTES + len(PREFIX))))
        while part := stream.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()
