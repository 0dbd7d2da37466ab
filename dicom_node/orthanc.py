"""What the node asks of Orthanc (REST, 1.10.1 and later): studies, headers, files, changes.

What a viewer reads by DICOMweb goes through `orthanc_dicomweb.py`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from dicom_node.errors import ArchiveMissing, ArchiveRefused
from dicom_node.orthanc_connection import OrthancConnection
from dicom_node.orthanc_tags import dataset_from_tags
from dicom_node.settings import OrthancSettings
from inference.dataset_values import is_uid

_STUDIES_A_PAGE = 500
_CHANGES_A_PAGE = 1000


@dataclass(frozen=True)
class ArchiveStudy:
    """A study as Orthanc lists it.

    `last_update` is Orthanc's own timestamp (UTC, one second fine, `20260102T030405`) of the last instance
    stored (1.10.1 leaves it as it is when one is removed); `stable` is what Orthanc remembers since it
    started, true for what it forgot. Where the images have something in place of a Study Instance UID that is
    none, `study_uid` is one made of `orthanc_id`.
    """

    orthanc_id: str
    study_uid: str
    last_update: str
    stable: bool
    series_ids: tuple[str, ...]


@dataclass(frozen=True)
class ArchiveSeries:
    """A series: its UID, its modality and Orthanc's identifiers of its instances."""

    orthanc_id: str
    series_uid: str
    modality: str
    instance_ids: tuple[str, ...]


@dataclass(frozen=True)
class Change:
    """One line of `/changes`."""

    sequence: int
    kind: str
    orthanc_id: str


@dataclass(frozen=True)
class ChangePage:
    """A part of `/changes`: `last` is the sequence number to go on from, `done` that nothing newer exists."""

    changes: tuple[Change, ...]
    last: int
    done: bool


class Orthanc:
    """Client of one Orthanc.

    Every method raises `ArchiveUnavailable` when Orthanc does not answer, `ArchiveMissing` for what it does
    not have and `ArchiveRefused` for what it does not accept.
    """

    def __init__(self, settings: OrthancSettings) -> None:
        self._connection = OrthancConnection(settings)

    def system(self) -> dict[str, Any]:
        """What Orthanc says of itself: `Version`, `Name`, `DicomAet`, `ApiVersion` ..."""
        answer: dict[str, Any] = self._connection.json("GET", "/system")
        return answer

    def statistics(self) -> dict[str, Any]:
        """How much Orthanc holds: `CountStudies`, `CountInstances`, `TotalDiskSizeMB` ..."""
        answer: dict[str, Any] = self._connection.json("GET", "/statistics")
        return answer

    def find_studies(self, query: Mapping[str, str]) -> list[dict[str, str]]:
        """The tags of studies that match as in a C-FIND (PS3.4 C.2.2.2): of each study and of its patient."""
        wanted = {"Level": "Study", "Expand": True, "Query": dict(query)}
        found = self._connection.json("POST", "/tools/find", body=json.dumps(wanted).encode())
        return [{**item["PatientMainDicomTags"], **item["MainDicomTags"]} for item in found]

    def studies(self) -> list[ArchiveStudy]:
        """Every study of the archive."""
        found: list[ArchiveStudy] = []
        while True:
            page = self._connection.json("GET", f"/studies?expand&since={len(found)}&limit={_STUDIES_A_PAGE}")
            found += [_study(item) for item in page]
            if len(page) < _STUDIES_A_PAGE:
                return found

    def study(self, orthanc_id: str) -> ArchiveStudy:
        """One study."""
        return _study(self._connection.json("GET", f"/studies/{orthanc_id}"))

    def study_id(self, study_uid: str) -> str:
        """Orthanc's identifier of the study with this UID."""
        return self._lookup(study_uid, "Study")

    def instance_id(self, sop_instance_uid: str) -> str:
        """Orthanc's identifier of the instance with this UID."""
        return self._lookup(sop_instance_uid, "Instance")

    def series(self, orthanc_id: str) -> ArchiveSeries:
        """One series."""
        item = self._connection.json("GET", f"/series/{orthanc_id}")
        return ArchiveSeries(
            orthanc_id=orthanc_id,
            series_uid=item["MainDicomTags"].get("SeriesInstanceUID", ""),
            modality=item["MainDicomTags"].get("Modality", ""),
            instance_ids=tuple(item["Instances"]),
        )

    def headers(self, series_id: str) -> dict[str, Dataset]:
        """Headers without pixels of every instance of a series, by Orthanc's identifier, in one request."""
        answer: dict[str, Any] = self._connection.json("GET", f"/series/{series_id}/instances-tags")
        return {instance: dataset_from_tags(tags) for instance, tags in answer.items()}

    def instance_md5(self, instance_id: str) -> str:
        """MD5 of the stored file, as Orthanc recorded it; of its bytes where Orthanc keeps none."""
        try:
            answer = self._connection.body("GET", f"/instances/{instance_id}/attachments/dicom/md5")
            recorded = answer.decode().strip()
        except ArchiveMissing:
            recorded = ""
        if recorded:
            return recorded
        return hashlib.md5(self.instance_file(instance_id), usedforsecurity=False).hexdigest()

    def instance_file(self, instance_id: str) -> bytes:
        """The stored file, byte for byte."""
        return self._connection.body("GET", f"/instances/{instance_id}/file")

    def fetch_instance(self, instance_id: str, target: Path) -> str:
        """Write the stored file to `target` and return the MD5 of what was written."""
        digest = hashlib.md5(usedforsecurity=False)
        pieces = self._connection.pieces("GET", f"/instances/{instance_id}/file")
        with target.open("wb") as sink:
            for piece in pieces:
                digest.update(piece)
                sink.write(piece)
        return digest.hexdigest()

    def store(self, data: bytes) -> str:
        """Store one instance and return Orthanc's identifier of it, once it is seen to be there.

        A success alone proves nothing (a plug-in or a full disk may drop what was accepted): the instance is
        asked for.
        """
        answer = self._connection.json("POST", "/instances", body=data)
        if not isinstance(answer, dict) or not answer.get("ID"):
            raise ArchiveRefused("Orthanc did not store the instance")
        self._connection.json("GET", f"/instances/{answer['ID']}")
        return str(answer["ID"])

    def changes(self, since: int) -> ChangePage:
        """Changes after sequence number `since`, oldest first."""
        answer = self._connection.json("GET", f"/changes?since={since}&limit={_CHANGES_A_PAGE}")
        return ChangePage(
            changes=tuple(
                Change(sequence=item["Seq"], kind=item["ChangeType"], orthanc_id=item["ID"])
                for item in answer["Changes"]
            ),
            last=int(answer["Last"]),
            done=bool(answer["Done"]),
        )

    def last_change(self) -> int:
        """Sequence number of the newest change, 0 where there is none."""
        return int(self._connection.json("GET", "/changes?last")["Last"])

    def _lookup(self, uid: str, level: str) -> str:
        for item in self._connection.json("POST", "/tools/lookup", body=uid.encode()):
            if item["Type"] == level:
                return str(item["ID"])
        raise ArchiveMissing(f"the archive does not have the {level.lower()}")


def _study(item: Mapping[str, Any]) -> ArchiveStudy:
    return ArchiveStudy(
        orthanc_id=item["ID"],
        study_uid=_study_uid(item),
        last_update=item["LastUpdate"],
        stable=item["IsStable"],
        series_ids=tuple(item["Series"]),
    )


def _study_uid(item: Mapping[str, Any]) -> str:
    """The UID, or one of the form of PS3.5 B.2 in place of a text that is none and may be anything."""
    stated = str(item["MainDicomTags"].get("StudyInstanceUID", ""))
    if is_uid(stated):
        return stated
    return f"2.25.{int.from_bytes(hashlib.sha256(item['ID'].encode()).digest()[:16], 'big')}"
