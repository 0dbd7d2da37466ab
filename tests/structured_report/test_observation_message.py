"""The HL7 message, as another library reads it."""

from __future__ import annotations

import re
from dataclasses import replace

import hl7
import numpy as np
import pytest
from pydicom.dataset import Dataset

from inference.study_result import StudyResult
from structured_report import KeySliceImages, ReportContext, build_objects
from structured_report.language import Words
from structured_report.observation_message import MessageParties, observation_message

PARTIES = MessageParties("DICOM-NODE", "CT", "RIS", "HOSPITAL")


@pytest.fixture
def report(result: StudyResult, headers: list[Dataset], context: ReportContext) -> Dataset:
    for header in headers:
        header.PatientName = "Иванов^Пётр^^д-р"
        header.PatientID = "A|1^2&3~4\\5"
        header.AccessionNumber = "ACC-7"
        request = Dataset()
        request.RequestedProcedureID = "1"
        header.RequestAttributesSequence = [request]
    voxels = {item.index: np.zeros((64, 64), np.int16) for item in result.key_slices}
    return build_objects(result, headers, KeySliceImages(voxels, (1.0, 1.0)), context)[0].dataset


def _read(result: StudyResult, report: Dataset, **changes: object) -> hl7.Message:
    message = observation_message(result, report, PARTIES, destination="ris", **changes)  # type: ignore[arg-type]
    return hl7.parse(message.content.decode("utf-8"))


def _observations(message: hl7.Message) -> dict[str, hl7.Segment]:
    return {str(segment[3]).partition("^")[0]: segment for segment in message.segments("OBX")}


def test_header_names_the_parties_and_the_character_set(result: StudyResult, report: Dataset) -> None:
    header = _read(result, report).segment("MSH")
    assert [str(header[number]) for number in (3, 4, 5, 6)] == ["DICOM-NODE", "CT", "RIS", "HOSPITAL"]
    assert str(header[9]) == "ORU^R01^ORU_R01"
    assert [str(header[number]) for number in (11, 12, 18)] == ["P", "2.5.1", "UNICODE UTF-8"]
    assert len(str(header[10])) == 20


def test_patient_and_accession_are_those_of_the_report(result: StudyResult, report: Dataset) -> None:
    message = _read(result, report)
    patient, order = message.segment("PID"), message.segment("OBR")
    assert message.unescape(str(patient[3])) == "A|1^2&3~4\\5"
    assert str(patient[5]) == "Иванов^Пётр^^^д-р"
    assert str(order[3]) == str(order[18]) == "ACC-7"
    assert str(order[25]) == "R"


def test_answer_is_told_with_its_operating_points(result: StudyResult, report: Dataset) -> None:
    told = _observations(_read(result, report, top_findings=2))
    assert str(told["113014"][5]) == result.study_uid
    assert float(str(told["pathology"][5])) == pytest.approx(100 * result.probability, abs=0.05)
    assert str(told["pathology"][7]) == f"<{100 * result.operating_point:g}"
    assert str(told["pathology"][8]) == "A"
    assert all(str(segment[11]) == "R" for segment in told.values())
    assert len(told) == 4 + 2


def test_normal_and_indeterminate_studies_say_so(
    normal_result: StudyResult, indeterminate_result: StudyResult, report: Dataset
) -> None:
    normal = _observations(_read(normal_result, report))
    assert str(normal["pathology"][8]) == "N"
    assert str(normal["verdict"][5]) == "272519000^Absent^SCT"
    assert "most-dangerous" not in normal
    indeterminate = _observations(_read(indeterminate_result, report))
    assert str(indeterminate["verdict"][5]) == "373068000^Undetermined^SCT"


def test_link_is_filled_and_cannot_break_out_of_its_field(result: StudyResult, report: Dataset) -> None:
    report.AccessionNumber = "A/1|&b"
    link = "https://node/studies/{study_uid}?a={accession}"
    message = _read(result, report, link=link)
    told = message.unescape(str(_observations(message)["link"][5]))
    assert told == f"https://node/studies/{result.study_uid}?a=A%2F1%7C%26b"


def test_a_line_break_in_a_tag_begins_no_segment(result: StudyResult, report: Dataset) -> None:
    report.PatientID = "1\rOBX|1|ST|forged"
    message = _read(result, report)
    assert all("forged" not in str(segment[3]) for segment in message.segments("OBX"))


def test_same_result_makes_the_same_bytes_and_each_destination_has_its_identifier(
    result: StudyResult, report: Dataset
) -> None:
    first = observation_message(result, report, PARTIES, destination="ris")
    assert observation_message(result, report, PARTIES, destination="ris") == first
    assert observation_message(result, report, PARTIES, destination="two").control_id != first.control_id
    other = observation_message(replace(result, key="f" * 64), report, PARTIES, destination="ris")
    assert other.control_id != first.control_id


def test_demonstration_is_said(result: StudyResult, report: Dataset) -> None:
    shown = replace(result, bundle=replace(result.bundle, demonstration=True))
    notes = [str(segment[3]) for segment in _read(shown, report).segments("NTE")]
    assert "NOT FOR DIAGNOSIS" in notes[0]
    real = replace(result, bundle=replace(result.bundle, demonstration=False))
    assert not any("DEMONSTRATION" in str(item) for item in _read(real, report).segments("NTE"))


def test_a_message_in_russian_has_the_same_codes(result: StudyResult, report: Dataset) -> None:
    findings = (*result.findings, replace(result.findings[1], name="covid"))
    result = replace(result, findings=findings, bundle=replace(result.bundle, demonstration=True))
    english, russian = (
        _read(result, report, top_findings=9, link="https://node", words=Words(language))
        for language in ("en", "ru")
    )
    told = dict(zip(_observations(english), _observations(russian).items(), strict=True))
    for code, (same, segment) in told.items():
        assert same == code
        meaning = str(segment[3]).split("^")[1]
        assert re.search("[А-я]", meaning) or meaning == "COVID-19", meaning
    assert str(_observations(russian)["verdict"][5]) == "52101004^Есть^SCT"
    assert str(_observations(russian)["pathology"][6]) == "%^Процент^UCUM"
    assert str(_observations(russian)["786838002"][3]) == "786838002^Узел в лёгком^SCT"
    notes = [str(segment[3]) for segment in russian.segments("NTE")]
    assert notes == ["ДЕМО: НЕ ДЛЯ ДИАГНОСТИКИ", "Результат ИИ, не проверен врачом. demo 1.0.0."]
