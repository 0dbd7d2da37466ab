"""Who a study is about, read from the archive each time and kept nowhere; only where a site wants it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dicom_node.orthanc import Orthanc

_UID = re.compile(r"[0-9.]{1,64}")
_WILDCARDS = frozenset("*?\\")  # PS3.4 C.2.2.2: they would find what was not asked for


@dataclass(frozen=True)
class Patient:
    """As the archive's tags say it; "" for what they do not say."""

    name: str
    identifier: str
    accession: str


def patients(orthanc: Orthanc, study_uids: Iterable[str]) -> dict[str, Patient]:
    """The patient of each study that the archive has, by Study Instance UID, in one request.

    Raises
    ------
    ArchiveError
        If the archive does not answer.
    """
    wanted = [uid for uid in study_uids if _UID.fullmatch(uid)]
    if not wanted:
        return {}
    found = orthanc.find_studies({"StudyInstanceUID": "\\".join(wanted)})
    return {tags["StudyInstanceUID"]: _patient(tags) for tags in found}


def studies_by_number(orthanc: Orthanc, number: str) -> tuple[str, ...]:
    """UIDs of the studies with this accession number or of the patient with this identifier.

    Raises
    ------
    ArchiveError
        If the archive does not answer.
    """
    if not number or _WILDCARDS & set(number):
        return ()
    uids = (
        tags["StudyInstanceUID"]
        for keyword in ("AccessionNumber", "PatientID")
        for tags in orthanc.find_studies({keyword: number})
    )
    return tuple(dict.fromkeys(uids))


def _patient(tags: Mapping[str, str]) -> Patient:
    # PS3.5 6.2.1.2: components of a name are divided by ^, its writings by =.
    name = tags.get("PatientName", "").partition("=")[0] or tags.get("PatientName", "").strip("=")
    return Patient(
        name=" ".join(part for part in name.split("^") if part),
        identifier=tags.get("PatientID", ""),
        accession=tags.get("AccessionNumber", ""),
    )
