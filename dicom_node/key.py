"""The key of work: what is the same in it is done once, what differs in it is done anew."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from dicom_node.settings import ReportSettings
from inference.study_result import Runtime


@dataclass(frozen=True)
class WorkKey:
    """The parts of a key; `hex` is the key itself.

    Attributes
    ----------
    study_uid, series_uid
        Study Instance UID; Series Instance UID of the chosen series, "" where none can be chosen.
    images
        `images_digest` of the chosen instances; a refusal code where none can be chosen.
    bundle
        Digest of the bundle that answers.
    software_version, precision
        Of what computes. Device and torch version are not part: they change no decision.
    settings
        `settings_digest` of the settings that change a result.
    attempt
        0; one more each time a person asks for a re-run.
    """

    study_uid: str
    series_uid: str
    images: str
    bundle: str
    software_version: str
    precision: str
    settings: str
    attempt: int = 0

    @property
    def hex(self) -> str:
        """SHA-256 of the parts, 64 hexadecimal digits."""
        return _digest(asdict(self))


def work_key(
    study_uid: str,
    series_uid: str,
    checksums: Iterable[tuple[str, str]],
    *,
    bundle_digest: str,
    runtime: Runtime,
    settings: str,
    attempt: int = 0,
) -> WorkKey:
    """The key for the chosen series; its instances are (SOP Instance UID, checksum) in any order."""
    return WorkKey(
        study_uid=study_uid,
        series_uid=series_uid,
        images=images_digest(checksums),
        bundle=bundle_digest,
        software_version=runtime.software_version,
        precision=runtime.precision,
        settings=settings,
        attempt=attempt,
    )


def images_digest(checksums: Iterable[tuple[str, str]]) -> str:
    """SHA-256 of the instances and their checksums, whatever their order."""
    return _digest(sorted(checksums))


def settings_digest(report: ReportSettings) -> str:
    """SHA-256 of the settings that change the content of a result."""
    # Which objects are made changes none of them.
    which = {"objects", "refusals", "refusals_except"}
    return _digest(report.model_dump(mode="json", exclude=which))


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
