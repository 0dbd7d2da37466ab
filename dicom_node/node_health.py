"""How a running node is: what a person or a monitor asks of it."""

from __future__ import annotations

from dataclasses import dataclass

from dicom_node.bundle_switch import BundleState


@dataclass(frozen=True)
class NodeHealth:
    """What a person or a monitor asks of a running node.

    `archive_problem` is None while Orthanc answers, else one sentence (nothing of a patient), and
    `database_problem` is None while what is done can be recorded;
    `archive_version` is Orthanc's own, "" until it answered once; `warnings` are sentences that stay true
    while the node runs; `unfinished` counts studies under way or being retried, `failing` the latter.
    `bundle` says which bundle answers, None before the start.
    """

    ready: bool
    archive_reachable: bool
    archive_problem: str | None
    archive_version: str
    database_problem: str | None
    warnings: tuple[str, ...]
    unfinished: int
    failing: int
    failing_deliveries: int
    bundle: BundleState | None
