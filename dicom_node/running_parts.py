"""The parts of a node that exist only while it runs: how they are joined, started and stopped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dicom_node.active_bundle import ActiveBundle
from dicom_node.archive_health import ArchiveHealth
from dicom_node.bundle_switch import BundleState, BundleSwitch
from dicom_node.data_folder import DataFolder
from dicom_node.delivery import Delivery
from dicom_node.durable import Durable
from dicom_node.examination import Examiner
from dicom_node.intake import Intake
from dicom_node.key_maker import KeyMaker
from dicom_node.ledger import Ledger
from dicom_node.orthanc import Orthanc
from dicom_node.refusal_reports import RefusalReports
from dicom_node.settings import Settings
from dicom_node.steps import StudySteps
from dicom_node.upload_work import UploadWork
from dicom_node.workers import Heartbeat
from dicom_node.workflow import StudyWorkflows
from structured_report.language import Words


@dataclass(frozen=True)
class RunningParts:
    """The parts of a node that exist only while it runs."""

    bundle: ActiveBundle
    switch: BundleSwitch | None
    steps: StudySteps
    workflows: StudyWorkflows
    examiner: Examiner
    intake: Intake | None
    uploads: UploadWork
    heartbeat: Heartbeat

    @property
    def switching(self) -> bool:
        """Whether another bundle is taking over, or its turn is being waited for."""
        return self.switch is not None and self.switch.switching

    @property
    def bundle_state(self) -> BundleState:
        """Which bundle answers, and what became of a wish for another one."""
        if self.switch is not None:
            return self.switch.state
        return BundleState(self.bundle.identity.name, None, False, None)

    def start(self) -> None:
        """Start each part after those that it gives work to."""
        self.workflows.start()
        self.heartbeat.start()
        if self.intake is not None:
            self.intake.start()
        if self.switch is not None:
            self.switch.start()

    def stop(self) -> None:
        """Stop what gives work before what does it."""
        # First, since a switch keeps the intake waiting.
        if self.switch is not None:
            self.switch.stop()
        if self.intake is not None:
            self.intake.stop()
        self.heartbeat.stop()
        self.workflows.durable.stop()


def joined_parts(
    settings: Settings,
    *,
    ledger: Ledger,
    orthanc: Orthanc,
    archive_health: ArchiveHealth,
    folder: DataFolder,
    bundle: ActiveBundle,
    switch: BundleSwitch | None,
    intake: bool,
    examine_again: Callable[[str], None],
) -> RunningParts:
    """The parts, each made with those that it gives work to; nothing is started.

    Parameters
    ----------
    switch
        Exchanges `bundle`; None where it stays the same as long as the process lives.
    intake
        Whether this process takes studies in.
    examine_again
        Called with Orthanc's identifier of a study whose images or bundle changed during the work on it.
    """
    steps = StudySteps(
        ledger=ledger,
        orthanc=orthanc,
        bundle=bundle,
        catch_up=switch.catch_up if switch is not None else _nothing_to_catch_up,
        folder=folder,
        report_settings=settings.report,
        object_kinds=settings.object_kinds,
    )
    executor_id = settings.worker.executor_id
    durable = Durable(settings.database() or folder.workflows_url, executor_id)
    workflows = StudyWorkflows(
        durable=durable,
        steps=steps,
        refusals=RefusalReports(ledger, orthanc, folder, settings.report, bundle.runtime.software_version),
        delivery=Delivery(ledger, orthanc, folder, settings.calling_aet, Words(settings.report.language)),
        worker=settings.worker,
        destinations=settings.destinations,
        abandoned=examine_again,
    )
    keys = KeyMaker(bundle, settings.report)
    examiner = Examiner(orthanc, ledger, keys, workflows)
    watch = Intake(settings.intake, orthanc, ledger.memory, examiner, archive_health) if intake else None
    uploads = UploadWork(ledger, keys, workflows, settings.worker.reading_timeout_s)
    heartbeat = Heartbeat(ledger, durable, executor_id, workflows.resume)
    return RunningParts(bundle, switch, steps, workflows, examiner, watch, uploads, heartbeat)


def _nothing_to_catch_up(_digest: str) -> None:
    """Where the bundle stays the same as long as the process lives."""
