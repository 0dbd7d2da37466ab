"""A node: how it starts and stops, how it is, and what may be asked of it."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from dicom_node.activation import ActivationBook, BundleChoice, folder_of
from dicom_node.active_bundle import ActiveBundle
from dicom_node.analysis import (
    BundleLoader,
    BundleNotUsable,
    LoadedBundle,
    StudyAnalyser,
    load_tested_bundle,
)
from dicom_node.archive_health import ArchiveHealth
from dicom_node.bundle_switch import BundleSwitch, load_first
from dicom_node.data_folder import DataFolder
from dicom_node.ledger import Ledger
from dicom_node.ledger_database import database_words
from dicom_node.ledger_records import Purpose, WorkRecord
from dicom_node.node_health import NodeHealth
from dicom_node.operations import Operations
from dicom_node.orthanc import Orthanc
from dicom_node.recent_trouble import RecentTrouble
from dicom_node.running_parts import RunningParts, joined_parts
from dicom_node.settings import Settings
from dicom_node.slice_pixels import SlicePixels
from dicom_node.steps import stored_result
from dicom_node.upload_work import remove_unclaimed
from dicom_node.uploads import Upload
from inference.study_result import BundleIdentity, Runtime, StudyResult

logger = logging.getLogger(__name__)

_WAIT_POLL_S = 0.1


class Node:
    """A node: ledger, archive, networks, durable work and, unless `intake=False`, the archive's watch.

    The bundle that was activated, or that of the settings, is loaded in `start()` by `load`. With an
    `analyser` the node uses that one and no other.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        analyser: StudyAnalyser | None = None,
        load: BundleLoader = load_tested_bundle,
        intake: bool = True,
    ) -> None:
        self.settings = settings
        self.folder = DataFolder(settings.data_folder)
        self.folder.create()
        self._locks = [self.folder.executor_lock(settings.worker.executor_id)]
        if intake:
            self._locks.append(self.folder.intake_lock())
        self.ledger = Ledger(settings.database() or self.folder.ledger_url)
        self.orthanc = Orthanc(settings.orthanc)
        self.slices = SlicePixels(self.ledger, self.orthanc, self.folder)
        self.trouble = RecentTrouble()
        self._archive_health = ArchiveHealth()
        self._given_analyser = analyser
        self._load_bundle = load
        self._activations = ActivationBook(settings.data_folder)
        self._with_intake = intake
        self._running: RunningParts | None = None

    @property
    def ready(self) -> bool:
        """True from the end of `start()` to the beginning of `stop()`, as long as a bundle can answer.

        It can while another one is loaded in its place: what comes then waits.
        """
        running = self._running
        return running is not None and (running.bundle.loaded or running.switching)

    def claim(self) -> None:
        """Take the data folder for this process.

        Raises
        ------
        ExecutorTaken
            If another process works under this name in it, or takes studies in for it.
        """
        for lock in self._locks:
            lock.acquire()

    def start(self) -> None:
        """Load the networks and let them pass their self-test, take up unfinished work, watch the archive.

        Blocks until ready.

        Raises
        ------
        ExecutorTaken
            As `claim`.
        BundleNotUsable
            If the bundle is not what its manifest says, or is not computed rightly here.
        """
        self.claim()
        logging.getLogger().addHandler(self.trouble)
        choice, loaded = self._first_bundle()
        if self._with_intake:
            unfinished = self.ledger.unfinished()
            self.folder.remove_orphans(
                (record.key for record in unfinished),
                (record.upload_folder for record in unfinished if record.upload_folder is not None),
            )
            for key in self.ledger.objects.unclaimed():
                remove_unclaimed(self.ledger, key)
            self._note_answers()
        bundle = ActiveBundle(loaded)
        self._running = joined_parts(
            self.settings,
            ledger=self.ledger,
            orthanc=self.orthanc,
            archive_health=self._archive_health,
            folder=self.folder,
            bundle=bundle,
            switch=self._switch(bundle, choice),
            intake=self._with_intake,
            examine_again=self._examine_again,
        )
        self._running.start()
        logger.info("node started", extra={"bundle": bundle.identity.name, "device": bundle.runtime.device})

    def _note_answers(self) -> None:
        """Enter answers that an earlier version left in their files only."""
        for key in self.ledger.answers.missing():
            if self.folder.result_file(key).exists():
                self.ledger.answers.note(stored_result(self.folder, key))

    def _first_bundle(self) -> tuple[BundleChoice | None, LoadedBundle]:
        """The bundle to begin with; no choice where the caller made it for good."""
        if self._given_analyser is not None:
            return None, LoadedBundle(self._given_analyser)
        setting = self.settings.worker.bundle
        return load_first(self._activations, self._load_choice, setting, leads=self._with_intake)

    def _load_choice(self, choice: BundleChoice) -> LoadedBundle:
        loaded = self._load_bundle(self.settings, folder_of(self.settings, choice))
        if choice.digest not in {"", loaded.analyser.identity.digest}:
            raise BundleNotUsable(
                f"bundle.toml of {choice.name} is no longer the one that was activated: activate it anew"
            )
        return loaded

    def _drained(self) -> bool:
        """Whether all that was taken in has ended, but for what waits for a fault to pass.

        Uploads are tried a few times within seconds, and somebody waits for them.
        """
        return not any(
            record.state != "failing" or (record.source == "upload" and not record.archived)
            for record in self.ledger.unfinished()
        )

    def _switch(self, bundle: ActiveBundle, choice: BundleChoice | None) -> BundleSwitch | None:
        if choice is None:
            return None
        drained = self._drained if self._with_intake else None
        return BundleSwitch(bundle, choice, self._activations, self._load_choice, drained)

    def stop(self) -> None:
        """Stop; unfinished work is taken up at the next start."""
        running, self._running = self._running, None
        if running is not None:
            running.stop()
        for lock in self._locks:
            lock.release()
        self.ledger.close()
        logging.getLogger().removeHandler(self.trouble)

    def health(self) -> NodeHealth:
        """How the node is."""
        backlog: dict[str, int] = {}
        failing_deliveries = 0
        problem = self._running.heartbeat.problem if self._running is not None else None
        try:
            backlog = self.ledger.backlog()
            failing_deliveries = sum(item.state == "failing" for _, item in self.ledger.deliveries.due())
        except SQLAlchemyError as error:
            problem = f"the ledger cannot be read: {database_words(error)}"
        warning = self._archive_health.warning
        return NodeHealth(
            ready=self.ready,
            archive_reachable=self._archive_health.problem is None,
            archive_problem=self._archive_health.problem,
            archive_version=self._archive_health.version,
            database_problem=problem,
            warnings=(warning,) if warning is not None else (),
            unfinished=sum(backlog.values()),
            failing=backlog.get("failing", 0),
            failing_deliveries=failing_deliveries,
            bundle=self._running.bundle_state if self._running is not None else None,
        )

    def hint(self, orthanc_study_id: str) -> None:
        """A study may be complete (from the plug-in); returns at once. Lost while the node does not run."""
        running = self._running
        if running is not None and running.intake is not None:
            running.intake.hint(orthanc_study_id)

    def submit_upload(self, upload: Upload, purpose: Purpose) -> str:
        """Start work on an upload and return its key; the node owns (and removes) its folder from now on.

        With the purpose "objects" the caller takes the objects when the work ended, and lets them go by
        `forget_objects`, whatever became of the work.

        Never raises a Refusal: an upload without a series to analyse gives a row that ended as refused.
        """
        return self._parts.uploads.submit(upload, purpose)

    def wait(self, key: str, timeout_s: float) -> WorkRecord:
        """The row of `key` when it ended (reported, refused, an upload also failed), or at the timeout.

        Raises
        ------
        KeyError
            If the key is unknown.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            record = self.ledger.known(key)
            if record.ended or time.monotonic() >= deadline:
                return record
            time.sleep(_WAIT_POLL_S)

    def result(self, key: str) -> StudyResult:
        """The stored answer. KeyError where there is none (not ended, refused)."""
        return self._parts.steps.result(key)

    def objects(self, key: str) -> list[Path]:
        """Files of the stored DICOM objects, the structured report first; none where none were asked for."""
        return [item.path for item in self.ledger.objects.of(key) if not item.for_destination]

    def forget_objects(self, key: str) -> None:
        """A caller who asked for an upload's objects is done; the last such caller's are removed.

        Those of the archive stay.
        """
        self._parts.uploads.forget_objects(key)

    def rerun(self, key: str) -> str:
        """Do the study of `key` once more (attempt + 1) and return the new key.

        Raises
        ------
        KeyError
            If the key is unknown.
        ArchiveError
            If the study is not in the archive.
        """
        return self._parts.examiner.again(self.ledger.known(key))

    @property
    def operations(self) -> Operations:
        """What a person may ask of the node beside its own course."""
        return Operations(self.settings, self.ledger, self._parts.workflows, self.hint)

    @property
    def runtime(self) -> Runtime:
        """What computes."""
        return self._parts.bundle.runtime

    @property
    def bundle(self) -> BundleIdentity:
        """The bundle that answers."""
        return self._parts.bundle.identity

    def _examine_again(self, orthanc_id: str) -> None:
        """A study changed under our hands: it is examined now, or by the process that has the intake."""
        self.ledger.memory.forget([orthanc_id])
        self.hint(orthanc_id)

    @property
    def _parts(self) -> RunningParts:
        if self._running is None:
            raise RuntimeError("the node is not running")
        return self._running
