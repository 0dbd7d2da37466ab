"""The answer about one study as an HL7 v2.5.1 message ORU^R01, for worklists that show triage only there.

HL7 v2.5.1 chapter 7.3.1 (ORU^R01), 7.4.1 (OBR), 7.4.2 (OBX); the result status is "R", stored and not yet
verified (table 0123, and 0085 for each observation), as the structured report is UNVERIFIED. Identity,
accession and order numbers are those of the structured report, which took them from the images. Each order
that they name is told the whole answer.

A later answer about the study has the status "R" too: "C" corrects a final result, and ours is never one. It
replaces the earlier one by naming the same orders and observations.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

from highdicom.sr import CodedConcept
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from inference.study_result import Finding, StudyResult
from structured_report.codes import concept, finding_code, private_code
from structured_report.hl7_segment import Field, segment
from structured_report.language import Words
from structured_report.order_segments import Order, acquired, orders, patient_segment
from structured_report.percentage import percentage
from structured_report.reading_order import in_reading_order

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


@dataclass(frozen=True)
class _Observation:
    """What one OBX says: `value` of `of`; a number is in percent and `threshold` (0 to 1) its limit."""

    kind: str
    of: tuple[str, str, str]
    value: Field
    flag: str = ""
    threshold: float | None = None


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
        Name of the destination, and what else tells its messages apart; with the key of work it gives the
        control identifier.
    top_findings
        Findings that are told, present ones first.
    link
        Where the study is to be seen; `{study_uid}` and `{accession}` are put in. "" for none.
    words
        Language of code meanings and notes; what the source itself wrote stays as it is.
    """
    control_id = message_control_id(result.key, destination)
    segments = [_header(result, parties, control_id), patient_segment(report)]
    for number, order in enumerate(orders(report), start=1):
        segments.append(_order(number, order, result, report, words))
        # Here they are about the whole order; behind an observation they would be about that one alone.
        segments += _notes(result, words)
        observations = list(_observations(result, order.accession, top_findings, link, words))
        segments += _told(observations, result, report, words)
    return ObservationMessage(control_id, "".join(f"{item}\r" for item in segments).encode("utf-8"))


def _header(result: StudyResult, parties: MessageParties, control_id: str) -> str:
    names = (
        parties.sending_application,
        parties.sending_facility,
        parties.receiving_application,
        parties.receiving_facility,
    )
    return segment(
        "MSH",
        {3: names[0], 4: names[1], 5: names[2], 6: names[3], 7: _analysed(result),
         9: ("ORU", "R01", "ORU_R01"), 10: control_id, 11: "P", 12: "2.5.1", 18: "UNICODE UTF-8"},
    )  # fmt: skip


def _order(number: int, order: Order, result: StudyResult, report: Dataset, words: Words) -> str:
    # A result must be filed under something: where the images name no order, under the study itself.
    filler = order.filler_number or order.accession or result.study_uid
    procedure = order.procedure or _coded(concept("ct_unspecified_region"), words)
    return segment(
        "OBR",
        {1: str(number), 2: order.placer_number, 3: filler, 4: procedure, 7: acquired(report),
         18: order.accession, 22: _analysed(result), 24: "CT", 25: "R"},
    )  # fmt: skip


def _analysed(result: StudyResult) -> str:
    return datetime.fromisoformat(result.analysed_at).strftime("%Y%m%d%H%M%S%z")


def _observations(
    result: StudyResult, accession: str, top_findings: int, link: str, words: Words
) -> Iterator[_Observation]:
    study = result.study_uid
    yield _Observation("ST", _coded(_STUDY_UID, words), study)
    yield _Observation(
        "NM",
        _coded(concept("pathology"), words),
        percentage(result.probability, result.operating_point),
        "A" if result.decision else "N",
        result.operating_point,
    )
    verdict = {"pathological": "present", "normal": "absent", "indeterminate": "undetermined"}
    state = verdict[result.verdict] if result.verdict else "present" if result.decision else "absent"
    yield _Observation("CWE", _coded(concept("verdict"), words), _coded(concept(state), words))
    if result.most_dangerous is not None:
        dangerous = _named(result.most_dangerous, words)
        yield _Observation("CWE", _coded(concept("most_dangerous"), words), dangerous)
    for finding in in_reading_order(result.findings)[:top_findings]:
        yield _finding(finding, words)
    if link:
        address = link.replace("{study_uid}", quote(study)).replace("{accession}", quote(accession, safe=""))
        yield _Observation("ST", _coded(_LINK, words), address)


def _finding(finding: Finding, words: Words) -> _Observation:
    return _Observation(
        "NM",
        _named(finding.name, words),
        percentage(finding.probability, finding.operating_point),
        "A" if finding.present else "N",
        finding.operating_point,
    )


def _notes(result: StudyResult, words: Words) -> Iterator[str]:
    bundle = result.bundle
    lines = [words.sentence("message_note", bundle=f"{bundle.name} {bundle.version}")]
    if bundle.demonstration:
        lines.insert(0, words.sentence("demonstration"))
    for number, line in enumerate(lines, start=1):
        yield segment("NTE", {1: str(number), 3: line})


def _told(
    observations: list[_Observation], result: StudyResult, report: Dataset, words: Words
) -> Iterator[str]:
    """OBX of each; a reference range (OBX-7) says below what a number counts as absent.

    Observations of one code have numbers in OBX-4, without which one would take the other's place.
    """
    percent = _coded(concept("percent"), words)
    alike = Counter(item.of[0] for item in observations)
    seen: Counter[str] = Counter()
    for number, item in enumerate(observations, start=1):
        code = item.of[0]
        seen[code] += 1
        below = f"<{100 * item.threshold:g}" if item.threshold is not None else ""
        yield segment(
            "OBX",
            {1: str(number), 2: item.kind, 3: item.of, 4: str(seen[code]) if alike[code] > 1 else "",
             5: item.value, 6: percent if item.kind == "NM" else "", 7: below, 8: item.flag, 11: "R",
             14: acquired(report), 19: _analysed(result)},
        )  # fmt: skip


def _coded(code: Code | CodedConcept, words: Words) -> tuple[str, str, str]:
    meaning = words.meaning(code.scheme_designator, code.value, code.meaning)
    return code.value, meaning, code.scheme_designator


def _named(finding: str, words: Words) -> tuple[str, str, str]:
    """The code of a finding; a private one is known to nobody by its value, only by the finding's name."""
    code = finding_code(finding).code
    if code == private_code(finding):
        return code.value, words.finding(finding), code.scheme_designator
    return _coded(code, words)
