"""The HL7 message, as another library reads it."""

from __future__ import annotations

import re
from dataclasses import replace

import hl7
import numpy as np
import pytest
from pydicom.config import IGNORE
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
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
    report.ReferencedRequestSequence[0].AccessionNumber = "A/1|&b"
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
    assert str(_observations(russian)["verdict"][5]) == "52101004^Присутствует^SCT"
    assert str(_observations(russian)["pathology"][6]) == "%^Процент^UCUM"
    assert str(_observations(russian)["786838002"][3]) == "786838002^Узел в лёгком^SCT"
    notes = [str(segment[3]) for segment in russian.segments("NTE")]
    assert notes == ["ДЕМО: НЕ ДЛЯ ДИАГНОСТИКИ", "Результат ИИ, не проверен врачом. demo 1.0.0."]


def _request(**values: str) -> Dataset:
    request = Dataset()
    for keyword, value in values.items():
        setattr(request, keyword, value)
    return request


def _code(value: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodeMeaning, code.CodingSchemeDesignator = value, meaning, "RIS"
    return code


def test_each_order_of_the_images_is_told_everything_once(result: StudyResult, report: Dataset) -> None:
    chest = _request(AccessionNumber="A1", PlacerOrderNumberImagingServiceRequest="P1")
    chest.RequestedProcedureCodeSequence = [_code("CTC", "CT chest")]
    abdomen = _request(AccessionNumber="A2", FillerOrderNumberImagingServiceRequest="F2")
    report.ReferencedRequestSequence = [chest, abdomen, chest]
    report.ProcedureCodeSequence = [_code("CT2", "CT chest and abdomen")]
    message = _read(result, report, link="https://node/{accession}")
    first, second = message.segments("OBR")
    assert [str(first[number]) for number in (1, 2, 3, 4, 18)] == ["1", "P1", "A1", "CTC^CT chest^RIS", "A1"]
    assert [str(second[number]) for number in (1, 2, 3, 18)] == ["2", "", "F2", "A2"]
    assert str(second[4]) == "CT2^CT chest and abdomen^RIS"
    names = [str(segment[0]) for segment in message]
    at = names.index("OBR", names.index("OBR") + 1)
    told, again = (
        [str(item) for item in message[names.index("NTE") : at]],
        [str(item) for item in message[at + 1 :]],
    )
    assert [item.replace("/A1", "/A2") for item in told] == again


def test_notes_are_about_the_order_and_not_about_its_last_observation(
    result: StudyResult, report: Dataset
) -> None:
    names = [str(segment[0]) for segment in _read(result, report)]
    assert names[:4] == ["MSH", "PID", "OBR", "NTE"]
    assert names[-1] == "OBX"


def test_images_without_an_order_are_filed_under_their_study(result: StudyResult, report: Dataset) -> None:
    report.AccessionNumber = ""
    report.ReferencedRequestSequence = []
    order = _read(result, report).segment("OBR")
    assert (str(order[3]), str(order[18])) == (result.study_uid, "")


@pytest.mark.parametrize(
    ("date", "time", "zone", "told"),
    [
        ("20260301", "101500.25", "+0300", "20260301101500+0300"),
        ("20260301", "1015", "", "202603011015"),
        ("20260301", "", "+0300", "20260301"),
        ("", "101500", "+0300", ""),
        ("01.03.26", "101500", "", ""),
    ],
)
def test_time_of_the_study_is_told_as_far_as_it_is_known(
    *, date: str, time: str, zone: str, told: str, result: StudyResult, report: Dataset
) -> None:
    for keyword, value in (("StudyDate", date), ("StudyTime", time), ("TimezoneOffsetFromUTC", zone)):
        report.add(DataElement(keyword, dictionary_VR(keyword), value, validation_mode=IGNORE))
    message = _read(result, report)
    assert str(message.segment("OBR")[7]) == told
    assert {str(segment[14]) for segment in message.segments("OBX")} == {told}
    assert str(message.segment("OBR")[22]) == str(message.segment("MSH")[7])


def test_observations_of_one_code_are_told_apart(result: StudyResult, report: Dataset) -> None:
    nodule = next(finding for finding in result.findings if finding.name == "Lung nodule")
    alike = replace(result, findings=(nodule, replace(nodule, name="Pulmonary nodule")))
    told = [(str(item[3]).partition("^")[0], str(item[4])) for item in _read(alike, report).segments("OBX")]
    assert told[-2:] == [("786838002", "1"), ("786838002", "2")]
    assert len(set(told)) == len(told)


def test_name_in_other_writings_and_who_assigned_the_identifier(result: StudyResult, report: Dataset) -> None:
    report.PatientName = "=山田^太郎=やまだ^たろう"
    report.IssuerOfPatientID = "HOSP&1"
    qualifiers = _request(UniversalEntityID="1.2.3", UniversalEntityIDType="ISO")
    report.IssuerOfPatientIDQualifiersSequence = [qualifiers]
    content = observation_message(result, report, PARTIES, destination="ris").content.decode()
    patient = content.split("\r")[1].split("|")
    assert patient[3].endswith("^^^HOSP\\T\\1&1.2.3&ISO")
    assert patient[5] == "山田^太郎^^^^^^I~やまだ^たろう^^^^^^P"


def test_a_name_with_a_backslash_is_two(result: StudyResult, report: Dataset) -> None:
    report.PatientName = ["Ivanov^Ivan", "Petrov"]
    assert str(_read(result, report).segment("PID")[5]) == "Ivanov^Ivan~Petrov"


def test_patient_of_whom_nothing_is_known(result: StudyResult, report: Dataset) -> None:
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex"):
        setattr(report, keyword, None)
    assert str(_read(result, report).segment("PID")).strip("|") == "PID"


@pytest.mark.parametrize(
    ("written", "told"),
    [("19500117", "19500117"), ("1950", "1950"), ("195001", "195001"), ("17/01/1950", ""), ("UNKNOWN", "")],
)
def test_a_birth_date_that_no_receiver_could_read_is_left_out(
    *, written: str, told: str, result: StudyResult, report: Dataset
) -> None:
    report.add(DataElement("PatientBirthDate", "DA", written, validation_mode=IGNORE))
    assert str(_read(result, report).segment("PID")[7]) == told
