"""What is done for one study, step by step: fetch, analyse, report, store.

Each step can be done again after a crash at any moment and then finds what was done: results and objects are
files that are written whole and once. A step raises `Refusal`, `ImagesChanged` or `BundleReplaced` where the
work is not to go on, and anything else where it is worth trying again.
"""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from dicom_node.active_bundle import ActiveBundle, BundleReplaced
from dicom_node.data_folder import DataFolder, write_once
from dicom_node.earlier_reports import succeeded_by_answer
from dicom_node.errors import ArchiveDamaged, ArchiveMissing, NodeError
from dicom_node.kept_objects import kept_object, report_context
from dicom_node.ledger import Ledger
from dicom_node.ledger_records import WorkRecord
from dicom_node.orthanc import Orthanc
from dicom_node.plan import PlannedInstance, WorkPlan
from dicom_node.report_material import report_material
from dicom_node.settings import ReportSettings
from inference.dicom_files import each_header, files_below
from inference.errors import Refusal, RefusalCode, SeriesRefusal, VolumeRefusal
from inference.preamble import without_preamble
from inference.study_result import SeriesDecision, StudyResult
from structured_report import ObjectKind, SourceEncodingError, build_objects

logger = logging.getLogger(__name__)


class ImagesChanged(NodeError):  # noqa: N818 - as the rest of its tree
    """The images that were to be analysed are no longer in the archive as they were."""

    code = "images_changed"
    sentence = "The images that were to be analysed are no longer in the archive as they were received."
    remedy = "Nothing needs to be done if other images replaced them: those have an entry of their own."


ABANDONED = frozenset({ImagesChanged.code, BundleReplaced.code})
"""Codes of work that ended although its study still wants an answer: it is examined again."""


def images_rejected(count: int, decisions: tuple[SeriesDecision, ...] = ()) -> SeriesRefusal:
    """The refusal of a study whose images are not to be read."""
    return SeriesRefusal(
        RefusalCode.IMAGES_REJECTED,
        f"{count} image(s) of the study were rejected for patient safety or as wrongly assigned.",
        decisions,
    )


@dataclass(frozen=True)
class StudySteps:
    """The steps, and what they work with.

    `object_kinds` are the objects that are made of every result. `catch_up` is given the digest of a bundle,
    and waits where that one is about to be loaded here.
    """

    ledger: Ledger
    orthanc: Orthanc
    bundle: ActiveBundle
    catch_up: Callable[[str], None]
    folder: DataFolder
    report_settings: ReportSettings
    object_kinds: frozenset[ObjectKind]

    def require_accepted(self, key: str) -> None:
        """Refuse to go on with images that were rejected meanwhile.

        Raises
        ------
        SeriesRefusal
            `images_rejected`.
        """
        plan = self.ledger.plan(key)
        rejected = self.ledger.feedback.not_to_read(plan.study_uid)
        count = sum(instance.sop_instance_uid in rejected for instance in plan.instances)
        if count:
            raise images_rejected(count)

    def fetch(self, key: str) -> None:
        """Bring the files of the chosen series onto this machine, each checked against its checksum.

        Raises
        ------
        ImagesChanged
            If an instance is gone, or is not what it was when the series was chosen.
        ArchiveDamaged
            If the archive's file is not what the archive recorded when it was received.
        Refusal
            If the study was refused already, and only what tells of it is still to be made.
        """
        record = self.ledger.known(key)
        if record.code is not None:
            raise Refusal(RefusalCode(record.code), record.sentence or "")
        if "queue" not in record.seconds:
            self.ledger.record_seconds(key, {"queue": time.time() - record.created_at.timestamp()})
        if record.source == "upload" or self._fetched_enough(record):
            return
        started = time.monotonic()
        target = self.folder.work(key)
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        plan = self.ledger.plan(key)
        for instance, path in zip(plan.instances, self._paths(record, plan), strict=True):
            self._fetch_one(instance, path)
        self.ledger.record_seconds(key, {"fetch": time.monotonic() - started})
        logger.info("fetched", extra={"instances": len(plan.instances)})

    def _fetched_enough(self, record: WorkRecord) -> bool:
        """Whether nothing is left to be made of the images, or they are here."""
        if not self.folder.result_file(record.key).exists():
            return False
        paths = self._paths(record, self.ledger.plan(record.key))
        return bool(self.ledger.objects.of(record.key)) or all(path.exists() for path in paths)

    def _fetch_one(self, instance: PlannedInstance, path: Path) -> None:
        try:
            md5 = self.orthanc.fetch_instance(instance.locator, path)
        except ArchiveMissing as error:
            raise ImagesChanged(ImagesChanged.sentence) from error
        if md5 == instance.md5:
            return
        if self.orthanc.instance_md5(instance.locator) == instance.md5:
            # Not another image: the archive itself says that this is not what it received.
            raise ArchiveDamaged(f"Orthanc's file of instance {instance.locator} is damaged: restore it")
        raise ImagesChanged(ImagesChanged.sentence)

    def analyse(self, key: str) -> None:
        """Make the answer and store it, once under its key.

        Raises
        ------
        BundleReplaced
            If another bundle answers now than the one that the key names.
        """
        file = self.folder.result_file(key)
        if file.exists():
            self.ledger.answers.note(self.result(key))
            return
        record, plan = self.ledger.known(key), self.ledger.plan(key)
        if plan.bundle:
            self.catch_up(plan.bundle)
        started = time.monotonic()
        try:
            result = self._answer(record, plan)
        except Refusal:
            self.ledger.record_seconds(key, {"analyse": time.monotonic() - started})
            raise
        write_once(file, json.dumps(result.to_json(), ensure_ascii=False).encode())
        self.ledger.answers.note(result)
        self.ledger.record_seconds(key, result.seconds)
        logger.info("analysed", extra={"seconds": round(sum(result.seconds.values()), 3)})

    def _answer(self, record: WorkRecord, plan: WorkPlan) -> StudyResult:
        paths = self._paths(record, plan)
        with self.bundle.held(plan.bundle) as loaded:
            if record.upload_name:
                result = loaded.analyser.analyse_nifti(paths[0], name=record.upload_name)
            else:
                result = loaded.analyser.analyse(
                    paths,
                    plan.choice,
                    key=record.key,
                    keep_saliency=partial(write_once, self.folder.saliency_file(record.key)),
                )
        return replace(result, key=record.key, warnings=(*result.warnings, *loaded.warnings))

    def report(self, key: str) -> None:
        """Make the DICOM objects and enter them in the ledger; a NIfTI volume has none.

        Raises
        ------
        VolumeRefusal
            `unreadable_text` if text of the images, the patient's name perhaps, would be lost in them.
        """
        record, plan = self.ledger.known(key), self.ledger.plan(key)
        if record.upload_name or self.ledger.objects.of(key):
            return
        started = time.monotonic()
        result = self.result(key)
        paths = dict(
            zip((item.sop_instance_uid for item in plan.instances), self._paths(record, plan), strict=True)
        )
        context = report_context(self.folder, self.report_settings, succeeded_by_answer(self.ledger, record))
        kinds = self.object_kinds
        material = report_material(
            result, paths, self.folder.saliency_file(key), with_attention=bool({"seg", "pm"} & kinds)
        )
        try:
            objects = build_objects(
                result,
                material.headers,
                material.slices,
                context,
                attention=material.attention,
                overview=material.overview,
                kinds=kinds,
            )
        except SourceEncodingError as error:  # the same at every attempt
            raise VolumeRefusal(
                RefusalCode.UNREADABLE_TEXT,
                "Text of the headers cannot be decoded in the character set that they name: no report.",
            ) from error
        records = [kept_object(self.folder, key, number, item) for number, item in enumerate(objects)]
        self.ledger.objects.add(key, records)
        self.ledger.record_seconds(key, {"report": time.monotonic() - started})
        logger.info("report made", extra={"objects": len(records)})

    def store(self, key: str) -> None:
        """Put the objects, an upload's originals before them, into the archive."""
        record = self.ledger.known(key)
        started = time.monotonic()
        if record.upload_folder is not None:
            self.store_originals(key, record.upload_folder)
        for item in self.ledger.objects.of(key):
            if item.kind in self.report_settings.objects:
                self.orthanc.store(item.path.read_bytes())
        self.ledger.record_seconds(key, {"store": time.monotonic() - started})
        logger.info("stored in the archive")

    def store_originals(self, key: str, folder: Path) -> None:
        """Put every DICOM instance of an upload into the archive, whatever its preamble holds left out."""
        for file, header in each_header(files_below(folder)):
            if header is not None and not header.is_directory:
                self.orthanc.store(without_preamble(file.read_bytes()))
        self.ledger.placed(key, self.orthanc.study_id(self.ledger.known(key).study_uid))

    def clean(self, key: str) -> None:
        """Remove the files that the study's work needed, an upload's among them."""
        record = self.ledger.known(key)
        shutil.rmtree(self.folder.work(key), ignore_errors=True)
        if record.upload_folder is not None:
            shutil.rmtree(record.upload_folder, ignore_errors=True)

    def result(self, key: str) -> StudyResult:
        """The stored answer. KeyError where there is none."""
        return stored_result(self.folder, key)

    def _paths(self, record: WorkRecord, plan: WorkPlan) -> list[Path]:
        """Where the file of each planned instance is, or is to be."""
        if record.source == "upload":
            return [Path(instance.locator) for instance in plan.instances]
        folder = self.folder.work(record.key)
        return [folder / f"{number:05}.dcm" for number in range(len(plan.instances))]


def stored_result(folder: DataFolder, key: str) -> StudyResult:
    """The answer in the data folder. KeyError where there is none."""
    file = folder.result_file(key)
    if not file.exists():
        raise KeyError(key)
    return StudyResult.from_json(json.loads(file.read_bytes()))
