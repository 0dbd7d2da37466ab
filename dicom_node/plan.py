"""What is to be analysed: the choice of a series, and where each chosen instance lies."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from dicom_node.key import images_digest
from inference.series import SeriesChoice
from inference.study_result import SeriesDecision


@dataclass(frozen=True)
class PlannedInstance:
    """One file: `locator` is Orthanc's identifier or an upload's path, `md5` the digest of its bytes."""

    sop_instance_uid: str
    locator: str
    md5: str


@dataclass(frozen=True)
class WorkPlan:
    """The chosen series of a study and its files, and what became of every other series.

    A NIfTI upload has no SOP instances: one `PlannedInstance` with an empty UID, and no decisions.
    `bundle` is the digest of the bundle that is to answer, "" in plans of versions that did not record it.
    """

    study_uid: str
    series_uid: str
    instances: tuple[PlannedInstance, ...]
    decisions: tuple[SeriesDecision, ...]
    warnings: tuple[str, ...] = ()
    bundle: str = ""

    @property
    def checksums(self) -> tuple[tuple[str, str], ...]:
        """(SOP Instance UID, MD5) of every instance."""
        return tuple((instance.sop_instance_uid, instance.md5) for instance in self.instances)

    @property
    def images(self) -> str:
        """Digest of the images: the same for the same instances with the same bytes."""
        return images_digest(self.checksums)

    @property
    def choice(self) -> SeriesChoice:
        """The choice, as the analysis takes it."""
        return SeriesChoice(
            study_uid=self.study_uid,
            series_uid=self.series_uid,
            sop_instance_uids=tuple(instance.sop_instance_uid for instance in self.instances),
            decisions=self.decisions,
            warnings=self.warnings,
        )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types only."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> WorkPlan:
        """The plan that `to_json` wrote."""
        return cls(
            study_uid=data["study_uid"],
            series_uid=data["series_uid"],
            instances=tuple(PlannedInstance(**item) for item in data["instances"]),
            decisions=tuple(SeriesDecision(**item) for item in data["decisions"]),
            warnings=tuple(data["warnings"]),
            bundle=data.get("bundle", ""),
        )
