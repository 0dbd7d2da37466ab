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
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from dicom_node.active_bundle import ActiveBundle, BundleReplaced
from dicom_node.data_folder import DataFolder, write_once
from dicom_node.errors import ArchiveDamaged, ArchiveMissing, NodeError
from dicom_node.ledger import Ledger, ObjectRecord, WorkRecord
from dicom_node.orthanc import Orthanc
from dicom_node.plan import PlannedInstance, WorkPlan
from dicom_node.settings import ReportSettings
from inference.decoding import decode_frame
from inference.dicom_files import each_header, files_below, read_header, source_headers
from inference.errors import Refusal
from inference.preamble import without_preamble
from inference.study_result import SliceReference, StudyResult
from structured_report import (
    KeySliceImages,
    PredecessorDocument,
    ReportContext,
    ReportObject,
    build_objects,
)

logger = logging.getLogger(__name__)


class ImagesChanged(NodeError):  # noqa: N818 - as the rest of its tree
    """The images that were to be analysed are no longer in the archive as they were."""

    code = "images_changed"
    sentence = "The images that were to be analysed are no longer in the archive as they were received."
    remedy = "Nothing needs to be done if other images replaced them: those have an entry of their own."


ABANDONED = frozenset({ImagesChanged.code, BundleReplaced.code})
"""Codes of work that ended although its study still wants an answer: it is examined again."""


class UnreadableKeySlice(NodeError):  # noqa: N818 - as the rest of its tree
    """A slice that was analysed cannot be decoded once more."""


@dataclass(frozen=True)
class StudySteps:
    """The steps, and what they work with.

    `catch_up` is given the digest of a bundle, and waits where that one is about to be loaded here.
    """

    ledger: Ledger
    orthanc: Orthanc
    bundle: ActiveBundle
    catch_up: Callable[[str], None]
    folder: DataFolder
    report_settings: ReportSettings

    def fetch(self, key: str) -> None:
        """Bring the files of the chosen series onto this machine, each checked against its checksum.

        Raises
        ------
        ImagesChanged
            If an instance is gone, or is not what it was when the series was chosen.
        ArchiveDamaged
            If the archive's file is not what the archive recorded when it was received.
        """
        record = self.ledger.known(key)
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
        return bool(self.ledger.objects(record.key)) or all(path.exists() for path in paths)

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
        self.ledger.record_seconds(key, result.seconds)
        logger.info("analysed", extra={"seconds": round(sum(result.seconds.values()), 3)})

    def _answer(self, record: WorkRecord, plan: WorkPlan) -> StudyResult:
        paths = self._paths(record, plan)
        with self.bundle.held(plan.bundle) as loaded:
            if record.upload_name:
                result = loaded.analyser.analyse_nifti(paths[0], name=record.upload_name)
            else:
                result = loaded.analyser.analyse(paths, plan.choice, key=record.key)
        return replace(result, key=record.key, warnings=(*result.warnings, *loaded.warnings))

    def report(self, key: str) -> None:
        """Make the DICOM objects and enter them in the ledger; a NIfTI volume has none."""
        record, plan = self.ledger.known(key), self.ledger.plan(key)
        if record.upload_name or self.ledger.objects(key):
            return
        started = time.monotonic()
        result = self.result(key)
        paths = dict(
            zip((item.sop_instance_uid for item in plan.instances), self._paths(record, plan), strict=True)
        )
        context = ReportContext(
            installation_uid=self.folder.installation_uid(),
            timezone=self.report_settings.timezone,
            predecessor=self._predecessor(record),
        )
        objects = build_objects(
            result, _headers(result, paths), _key_slices(result.key_slices, paths), context
        )
        records = [self._keep(key, number, item) for number, item in enumerate(objects)]
        self.ledger.add_objects(key, records)
        self.ledger.record_seconds(key, {"report": time.monotonic() - started})
        logger.info("report made", extra={"objects": len(records)})

    def _keep(self, key: str, number: int, item: ReportObject) -> ObjectRecord:
        path = self.folder.results(key) / ("sr.dcm" if item.kind == "sr" else f"key-{number}.dcm")
        write_once(path, item.to_bytes())
        return ObjectRecord(
            sop_instance_uid=item.sop_instance_uid,
            sop_class_uid=str(item.dataset.SOPClassUID),
            series_uid=item.series_uid,
            study_uid=str(item.dataset.StudyInstanceUID),
            kind=item.kind,
            number=number,
            path=path,
        )

    def store(self, key: str) -> None:
        """Put the objects, an upload's originals before them, into the archive."""
        record = self.ledger.known(key)
        started = time.monotonic()
        if record.upload_folder is not None:
            self.store_originals(key, record.upload_folder)
        for item in self.ledger.objects(key):
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
        file = self.folder.result_file(key)
        if not file.exists():
            raise KeyError(key)
        return StudyResult.from_json(json.loads(file.read_bytes()))

    def _paths(self, record: WorkRecord, plan: WorkPlan) -> list[Path]:
        """Where the file of each planned instance is, or is to be."""
        if record.source == "upload":
            return [Path(instance.locator) for instance in plan.instances]
        folder = self.folder.work(record.key)
        return [folder / f"{number:05}.dcm" for number in range(len(plan.instances))]

    def _predecessor(self, record: WorkRecord) -> PredecessorDocument | None:
        """The last report about the same study that this one succeeds."""
        key = record.predecessor
        while key is not None:
            for item in self.ledger.objects(key):
                if item.kind == "sr":
                    return PredecessorDocument(
                        study_uid=item.study_uid,
                        series_uid=item.series_uid,
                        sop_instance_uid=item.sop_instance_uid,
                        sop_class_uid=item.sop_class_uid,
                    )
            earlier = self.ledger.work(key)
            key = earlier.predecessor if earlier is not None else None
        return None


def _headers(result: StudyResult, paths: dict[str, Path]) -> list[Dataset]:
    """Headers of the analysed instances in slice order."""
    return source_headers([paths[uid] for uid in result.image_sop_instance_uids])


def _key_slices(references: Sequence[SliceReference], paths: dict[str, Path]) -> KeySliceImages:
    """The pixels of the key slices, which alone are decoded once more."""
    voxels: dict[int, NDArray[np.int16]] = {}
    spacing = (1.0, 1.0)
    for reference in references:
        path = paths[reference.sop_instance_uid]
        index = (reference.frame_number or 1) - 1
        decoded = decode_frame(path, index)
        header = read_header(path)
        if decoded.hu is None or header is None:
            raise UnreadableKeySlice(f"slice {reference.index} could not be read again: {decoded.problem}")
        voxels[reference.index] = np.rint(decoded.hu).astype(np.int16)
        spacing = header.planes[index].pixel_spacing_mm
    return KeySliceImages(voxels, spacing)
