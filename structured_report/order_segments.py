"""Whose a message is and which orders it answers: the segment PID, and what OBR says of an order.

All of it is as the structured report has it, which took it from the images (HL7 v2.5.1, 3.4.2 and 7.4.1).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.valuerep import PersonName

from structured_report.hl7_segment import Component, segment

_DATE, _TIME = re.compile(r"\d{8}"), re.compile(r"(\d{2}){1,3}")
_PART_OF_DATE = re.compile(r"\d{4}(\d{2}){0,2}")


@dataclass(frozen=True)
class Order:
    """One request that the images answer; "" and None where they do not say.

    `procedure` is a code: value, meaning, scheme.
    """

    placer_number: str
    filler_number: str
    accession: str
    procedure: tuple[str, str, str] | None


def orders(report: Dataset) -> list[Order]:
    """The orders of the images, each once; an empty one where they name none."""
    procedure = _first_code(report, "ProcedureCodeSequence")
    accession = _text(report, "AccessionNumber")
    found = [
        Order(
            placer_number=_text(request, "PlacerOrderNumberImagingServiceRequest"),
            filler_number=_text(request, "FillerOrderNumberImagingServiceRequest"),
            accession=_text(request, "AccessionNumber") or accession,
            procedure=_first_code(request, "RequestedProcedureCodeSequence") or procedure,
        )
        for request in report.get("ReferencedRequestSequence") or [Dataset()]
    ]
    return list(dict.fromkeys(found))


def patient_segment(report: Dataset) -> str:
    """PID; a date of birth that is none (images may hold any text there) is left out."""
    born = _text(report, "PatientBirthDate")
    return segment(
        "PID",
        {
            3: (_text(report, "PatientID"), "", "", _authority(report)),
            5: [writing for name in _names(report) for writing in _writings(name)],
            7: born if _PART_OF_DATE.fullmatch(born) else "",
            8: _text(report, "PatientSex"),
        },
    )


def _authority(report: Dataset) -> tuple[str, ...]:
    """Who assigned the patient's identifier, as HD: namespace, universal identifier and its type."""
    issuer = _text(report, "IssuerOfPatientID")
    for qualifiers in report.get("IssuerOfPatientIDQualifiersSequence") or []:
        return issuer, _text(qualifiers, "UniversalEntityID"), _text(qualifiers, "UniversalEntityIDType")
    return (issuer,)


def _names(report: Dataset) -> list[PersonName]:
    """The patient's name; several where it holds a backslash, which parts the values of an attribute."""
    value = report.get("PatientName") or []
    return list(value) if isinstance(value, MultiValue | list) else [value]


def _writings(name: PersonName) -> list[tuple[Component, ...]]:
    """XPN for each way in which the name is written; where there are several, it says which."""
    written = {"A": name.alphabetic, "I": name.ideographic, "P": name.phonetic}
    names: list[tuple[Component, ...]] = []
    for code, text in written.items():
        if text.strip("^ "):
            family, given, middle, prefix, suffix, *_ = (*text.split("^"), *[""] * 5)
            others = any(written[other] for other in "IP")
            names.append((family, given, middle, suffix, prefix, "", "", code if others else ""))
    return names


def acquired(report: Dataset) -> str:
    """When the study began, in the precision that the images give; "" where they give no date."""
    date, time = _text(report, "StudyDate"), _text(report, "StudyTime").partition(".")[0]
    if not _DATE.fullmatch(date):
        return ""
    if not _TIME.fullmatch(time):
        return date
    return date + time + _text(report, "TimezoneOffsetFromUTC")


def _first_code(dataset: Dataset, keyword: str) -> tuple[str, str, str] | None:
    """The code by whichever of its three values it has (PS3.3 8.1)."""
    for item in dataset.get(keyword) or []:
        value = next(filter(None, (_text(item, f"{kind}CodeValue") for kind in ("", "Long", "URN"))), "")
        return value, _text(item, "CodeMeaning"), _text(item, "CodingSchemeDesignator")
    return None


def _text(dataset: Dataset, keyword: str) -> str:
    value = dataset.get(keyword) or ""
    return "\\".join(map(str, value if isinstance(value, MultiValue) else [value])).strip()
