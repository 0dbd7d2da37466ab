"""The keys of work that this node makes: for its bundle, its software and its settings of the moment."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dicom_node.active_bundle import ActiveBundle
from dicom_node.gate import Gate
from dicom_node.key import WorkKey, settings_digest, work_key
from dicom_node.plan import WorkPlan
from dicom_node.settings import ReportSettings


@dataclass(frozen=True)
class KeyMaker:
    """Makes keys of work for what this node is now: bundle, software, settings.

    A key is made and its work entered inside `taking_in`, where the bundle stays the same.
    """

    bundle: ActiveBundle
    report_settings: ReportSettings

    @property
    def taking_in(self) -> Gate:
        """Closed while what was taken in is finished and another bundle takes over."""
        return self.bundle.taking_in

    def for_bundle(self, plan: WorkPlan) -> WorkPlan:
        """The plan, to be answered by the bundle of the moment."""
        return replace(plan, bundle=self.bundle.identity.digest)

    def key(self, plan: WorkPlan, attempt: int = 0) -> WorkKey:
        """The key of a plan."""
        return work_key(
            plan.study_uid,
            plan.series_uid,
            plan.checksums,
            bundle_digest=self.bundle.identity.digest,
            runtime=self.bundle.runtime,
            settings=settings_digest(self.report_settings),
            attempt=attempt,
        )

    def refusal_key(self, study_uid: str, reason: str) -> WorkKey:
        """The key of a study none of whose series can be chosen, whatever else of it still comes."""
        empty = WorkPlan(study_uid=study_uid, series_uid="", instances=(), decisions=())
        return replace(self.key(empty), images=reason)
