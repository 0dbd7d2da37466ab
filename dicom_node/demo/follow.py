"""One study from the scanner into the PACS, timed from outside."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
from pydicom import dcmread

from dicom_node.cstore import send_objects
from dicom_node.demo.hospital import STABLE_AGE_S, Hospital
from dicom_node.demo.outcome import LAST_IMAGE_TO_SR, Outcome, kind_of_unknown
from dicom_node.demo.scans import Scan
from dicom_node.errors import ArchiveMissing, NodeError
from dicom_node.orthanc import Orthanc

_POLL_S = 0.1
_ANSWER_S = 300
_DELIVERY_S = 120


@dataclass(frozen=True)
class Sent:
    """A study that was sent: when its last image was answered (monotonic), and what it took until the SR."""

    scan: Scan
    images: int
    quality_control: bool
    send_s: float
    sr_after_s: float | None
    problem: str | None = None


class Follower:
    """Sends studies and watches node and PACS for what becomes of them."""

    def __init__(self, hospital: Hospital, pacs_folder: Path) -> None:
        self._hospital = hospital
        self._folder = pacs_folder
        self._pacs: Orthanc = hospital.pacs()
        self._node = httpx.Client(base_url=hospital.node_url, timeout=30)

    def send(self, scan: Scan) -> Sent:
        """Send a study, and wait until its SR is in the PACS or the node has refused it."""
        first = dcmread(scan.files[0], stop_before_pixels=True, specific_tags=["QualityControlSubject"])
        quality_control = first.get("QualityControlSubject") == "YES"
        started = time.monotonic()
        answered = [started]
        try:
            sent = send_objects(
                self._hospital.archive_peer,
                scan.files,
                calling_aet="SCANNER",
                progress=lambda _done, _total: answered.append(time.monotonic()),
            )
        except NodeError as error:
            return Sent(scan, 0, quality_control, time.monotonic() - started, None, str(error))
        last_image = answered[-1]
        stored = sum(item.stored for item in sent)
        problem = None if stored == len(sent) else f"{len(sent) - stored} images were not received"
        arrived = self._wait_for_report(scan.study_uid, last_image + _ANSWER_S)
        after = arrived - last_image if arrived is not None else None
        return Sent(scan, stored, quality_control, last_image - started, after, problem)

    def outcome(self, sent: Sent) -> Outcome:
        """What became of a study, once every delivery of it is over, with the PACS' files fetched."""
        record = self._wait_for_deliveries(sent.scan.study_uid)
        if record is None:
            return replace(_nothing_known(sent), problem=sent.problem or "the node knows nothing of it")
        seconds = {"send": sent.send_s, **record["seconds"]}
        if sent.sr_after_s is not None:
            seconds[LAST_IMAGE_TO_SR] = sent.sr_after_s - STABLE_AGE_S
        files, originals = self._fetch(sent.scan.study_uid, record["objects"])
        result = record["result"] or {}
        findings = result.get("findings", [])
        outcome = replace(
            _nothing_known(sent),
            kind=sent.scan.kind or kind_of_unknown(record["code"], quality_control=sent.quality_control),
            state=record["state"],
            refusal=record["code"],
            probability=result.get("probability"),
            decision=result.get("decision"),
            findings={item["name"]: item["probability"] for item in findings},
            present=tuple(item["name"] for item in findings if item["present"]),
            seconds=seconds,
            sr=files[0] if files else None,
            key_images=tuple(files[1:]),
            originals=originals,
        )
        return replace(outcome, problem=sent.problem or _problem(outcome, record))

    def _wait_for_report(self, study_uid: str, deadline: float) -> float | None:
        """When the SR was in the PACS (monotonic), None if the study is refused or time is up."""
        report_uid = None
        while time.monotonic() < deadline:
            if report_uid is None:
                record = self._record(study_uid)
                if record is not None and record["state"] == "refused":
                    return None
                if record is not None and record["objects"]:
                    report_uid = record["objects"][0]
            elif self._pacs_has(report_uid):
                return time.monotonic()
            time.sleep(_POLL_S)
        return None

    def _wait_for_deliveries(self, study_uid: str) -> dict[str, Any] | None:
        """The node's record when the study and each of its deliveries ended, or as it is when time is up."""
        deadline = time.monotonic() + _DELIVERY_S
        while True:
            record = self._record(study_uid)
            if record is not None and record["ended_at"] is not None:
                deliveries = record["deliveries"]
                if deliveries and all(item["state"] == "delivered" for item in deliveries):
                    return record
            if time.monotonic() > deadline:
                return record
            time.sleep(_POLL_S)

    def _record(self, study_uid: str) -> dict[str, Any] | None:
        """`GET /studies/{uid}`, None where the node does not know the study yet."""
        self._hospital.require_node()
        response = self._node.get(f"/studies/{study_uid}")
        if response.status_code == httpx.codes.NOT_FOUND:
            return None
        record: dict[str, Any] = response.raise_for_status().json()
        return record

    def _pacs_has(self, sop_instance_uid: str) -> bool:
        try:
            self._pacs.instance_id(sop_instance_uid)
        except ArchiveMissing:
            return False
        return True

    def _fetch(self, study_uid: str, objects: list[str]) -> tuple[list[Path], int]:
        """The node's objects as the PACS holds them, the SR first, and how many other images it has."""
        folder = self._folder / study_uid
        files = []
        for number, uid in enumerate(objects):
            if not self._pacs_has(uid):
                continue
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / ("sr.dcm" if number == 0 else f"sc-{number}.dcm")
            path.write_bytes(self._pacs.instance_file(self._pacs.instance_id(uid)))
            files.append(path)
        return files, self._instances(study_uid) - len(files)

    def _instances(self, study_uid: str) -> int:
        try:
            study = self._pacs.study(self._pacs.study_id(study_uid))
        except ArchiveMissing:
            return 0
        return sum(len(self._pacs.series(series_id).instance_ids) for series_id in study.series_ids)


def _nothing_known(sent: Sent) -> Outcome:
    return Outcome(
        study_uid=sent.scan.study_uid,
        kind=sent.scan.kind or "chest",
        truth=sent.scan.truth,
        state="unknown",
        refusal=None,
        probability=None,
        decision=None,
        findings={},
        present=(),
        seconds={"send": sent.send_s},
        sr=None,
        key_images=(),
        originals=0,
        originals_sent=sent.images,
        problem=sent.problem,
    )


def _problem(outcome: Outcome, record: dict[str, Any]) -> str | None:
    """What of the way failed; a wrong answer is none."""
    if outcome.state not in {"reported", "refused"}:
        return f"still {outcome.state} ({record['error'] or 'no answer in time'})"
    failing = [item for item in record["deliveries"] if item["state"] != "delivered"]
    if failing:
        return f"not delivered: {failing[0]['error'] or 'no answer in time'}"
    if outcome.state == "reported" and (outcome.sr is None or not outcome.key_images):
        return "the PACS holds no structured report or no key image"
    if outcome.originals != outcome.originals_sent:
        return f"the PACS holds {outcome.originals} of {outcome.originals_sent} images"
    return None
