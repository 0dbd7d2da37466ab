"""The answer about one study as an HL7 v2.5.1 message ORU^R01, for worklists that show triage only there.

HL7 v2.5.1 chapter 7.3.1 (ORU^R01), 7.4.1 (OBR), 7.4.2 (OBX); the result status is "R", stored and not yet
verified (table 0123, and 0085 for each observation), as the structured report is UNVERIFIED. Identity,
accession and order numbers are those of the structured report, which took them from the images.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

from highdicom.sr import CodedConcept
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sr.coding import Code
from pydicom.valuerep import PersonName

from inference.study_result import Finding, StudyResult
from structured_report.codes import concept, finding_code, private_code
from structured_report.language import Words
from structured_report.measurement_groups import in_reading_order
from structured_report.percentage import percentage

_STUDY_UID = Code("113014", "DCM", "DICOM Study")  # IHE RAD: the observation that carries the study's UID
_LINK = Code("link", "99DICOMNODE", "Link to the study")


@dataclass(frozen=True)
class MessageParties:
    """Who sends and who receives (MSH-3 to MSH-6)."""

    sending_application: str = "DICOM-NODE"
    sending_facility: str = ""
    receiving_application: str = ""
    receiving_facility: str = ""


@dataclass(frozen=True)
class ObservationMessage:
    """A message and the identifier (MSH-10) by which its acknowledgement names it."""

    control_id: str
    content: bytes


def message_control_id(key: str, destination: str) -> str:
    """MSH-10 of the message about a key of work to a destination; the same at every attempt."""
    return hashlib.sha256(f"{key}:{destination}".encode()).hexdigest()[:20].upper()


def observation_message(
    result: StudyResult,
    report: Dataset,
    parties: MessageParties,
    *,
    destination: str,
    top_findings: int = 5,
    link: str = "",
    words: Words = Words(),  # noqa: B008 - frozen
) -> ObservationMessage:
    """The message about `result`; the same arguments give the same bytes.

    Parameters
    ----------
    report
        The structured report that was made of the result.
    destination
        Name of the destination; with the key of work it gives the control identifier.
    top_findings
        Findings that are told, present ones first.
    link
        Where the study is to be seen; `{study_uid}` and `{accession}` are put in. "" for none.
    words
        Language of code meanings and notes; what the source itself wrote stays as it is.
    """
    control_id = message_control_id(result.key, destination)
    segments = [
        _header(result, report, parties, control_id),
        _patient(report),
        _order(report, words),
        *_observations(result, report, top_findings, link, words),
        *_notes(result, words),
    ]
    return ObservationMessage(control_id, "".join(f"{segment}\r" for segment in segments).encode("utf-8"))


def _header(result: StudyResult, report: Dataset, parties: MessageParties, control_id: str) -> str:
    when = datetime.fromisoformat(result.analysed_at).strftime("%Y%m%d%H%M%S%z")
    names = (
        parties.sending_application,
        parties.sending_facility,
        parties.receiving_application,
        parties.receiving_facility,
    )
    return _segment(
        "MSH",
        {3: names[0], 4: names[1], 5: names[2], 6: names[3], 7: when, 9: ("ORU", "R01", "ORU_R01"),
         10: control_id, 11: "P", 12: "2.5.1", 18: "UNICODE UTF-8"},
    )  # fmt: skip


def _patient(report: Dataset) -> str:
    name = report.get("PatientName") or PersonName("")
    return _segment(
        "PID",
        {
            3: (_text(report, "PatientID"), "", "", _text(report, "IssuerOfPatientID")),
            5: (name.family_name, name.given_name, name.middle_name, name.name_suffix, name.name_prefix),
            7: _text(report, "PatientBirthDate"),
            8: _text(report, "PatientSex"),
        },
    )


def _order(report: Dataset, words: Words) -> str:
    requests = report.get("ReferencedRequestSequence") or [Dataset()]
    procedures = (
        report.get("ProcedureCodeSequence") or requests[0].get("RequestedProcedureCodeSequence") or []
    )
    procedure = _of_source(procedures[0]) if procedures else _coded(concept("ct_unspecified_region"), words)
    accession = _text(report, "AccessionNumber")
    filler = _text(requests[0], "FillerOrderNumberImagingServiceRequest") or accession
    return _segment(
        "OBR",
        {1: "1", 2: _text(requests[0], "PlacerOrderNumberImagingServiceRequest"), 3: filler,
         4: procedure, 7: _text(report, "StudyDate") + _text(report, "StudyTime").partition(".")[0],
         18: accession, 24: "CT", 25: "R"},
    )  # fmt: skip


def _observations(
    result: StudyResult, report: Dataset, top_findings: int, link: str, words: Words
) -> Iterator[str]:
    number = iter(range(1, 1000))
    study, accession = result.study_uid, _text(report, "AccessionNumber")
    yield _observation(next(number), "ST", _coded(_STUDY_UID, words), study, words)
    yield _observation(
        next(number), "NM", _coded(concept("pathology"), words),
        percentage(result.probability, result.operating_point), words,
        flag="A" if result.decision else "N", threshold=result.operating_point,
    )  # fmt: skip
    verdict = {"pathological": "present", "normal": "absent", "indeterminate": "undetermined"}
    state = verdict[result.verdict] if result.verdict else "present" if result.decision else "absent"
    told = _coded(concept(state), words)
    yield _observation(next(number), "CWE", _coded(concept("verdict"), words), told, words)
    if result.most_dangerous is not None:
        told = _named(result.most_dangerous, words)
        yield _observation(next(number), "CWE", _coded(concept("most_dangerous"), words), told, words)
    for finding in in_reading_order(result.findings)[:top_findings]:
        yield _finding(next(number), finding, words)
    if link:
        address = link.replace("{study_uid}", quote(study)).replace("{accession}", quote(accession, safe=""))
        yield _observation(next(number), "ST", _coded(_LINK, words), address, words)


def _finding(number: int, finding: Finding, words: Words) -> str:
    return _observation(
        number,
        "NM",
        _named(finding.name, words),
        percentage(finding.probability, finding.operating_point),
        words,
        flag="A" if finding.present else "N",
        threshold=finding.operating_point,
    )


def _notes(result: StudyResult, words: Words) -> Iterator[str]:
    bundle = result.bundle
    lines = [words.sentence("message_note", bundle=f"{bundle.name} {bundle.version}")]
    if bundle.demonstration:
        lines.insert(0, words.sentence("demonstration"))
    for number, line in enumerate(lines, start=1):
        yield _segment("NTE", {1: str(number), 3: line})


def _observation(
    number: int,
    kind: str,
    of: Sequence[str],
    value: str | Sequence[str],
    words: Words,
    *,
    flag: str = "",
    threshold: float | None = None,
) -> str:
    """OBX; a number is in percent, and its reference range (OBX-7) says below what it counts as absent."""
    unit = _coded(concept("percent"), words) if kind == "NM" else ""
    return _segment(
        "OBX",
        {1: str(number), 2: kind, 3: of, 5: value, 6: unit,
         7: f"<{100 * threshold:g}" if threshold is not None else "", 8: flag, 11: "R"},
    )  # fmt: skip


def _segment(name: str, fields: dict[int, str | Sequence[str]]) -> str:
    """A segment of these fields by number; the header's own first two are the delimiters."""
    last = max(fields)
    texts = [_field(fields.get(number, "")) for number in range(3 if name == "MSH" else 1, last + 1)]
    return "|".join(["MSH", "^~\\&", *texts] if name == "MSH" else [name, *texts])


def _field(value: str | Sequence[str]) -> str:
    if isinstance(value, str):
        return _escaped(value)
    return "^".join(map(_escaped, value)).rstrip("^")


def _escaped(text: str) -> str:
    """Text between delimiters (chapter 2.7.1); line breaks become spaces, control characters are left out."""
    marks = {"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\"}
    one_line = " ".join(text.split())
    return "".join(marks.get(letter, letter) for letter in one_line if letter.isprintable())


def _coded(code: Code | CodedConcept, words: Words) -> tuple[str, str, str]:
    meaning = words.meaning(code.scheme_designator, code.value, code.meaning)
    return code.value, meaning, code.scheme_designator


def _named(finding: str, words: Words) -> tuple[str, str, str]:
    """The code of a finding; a private one is known to nobody by its value, only by the finding's name."""
    code = finding_code(finding).code
    if code == private_code(finding):
        return code.value, words.finding(finding), code.scheme_designator
    return _coded(code, words)


def _of_source(item: Dataset) -> tuple[str, str, str]:
    return _text(item, "CodeValue"), _text(item, "CodeMeaning"), _text(item, "CodingSchemeDesignator")


def _text(dataset: Dataset, keyword: str) -> str:
    value = dataset.get(keyword) or ""
    return "\\".join(map(str, value if isinstance(value, MultiValue) else [value])).strip()
