"""What is taken over from the source: equal after decoding, whatever the source's character set or gaps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRLittleEndian

from inference.study_result import StudyResult
from structured_report import ReportContext, SourceEncodingError, SourceError, build_objects
from structured_report.source import PATIENT_AND_STUDY, TYPE_2, read_source
from structured_report.source_text import taken_over
from tests.structured_report.content import built
from tests.structured_report.samples import ct_headers, key_slices, study_result

TEXT = ("PatientName", "ReferringPhysicianName", "PatientComments", "StudyDescription", "OtherPatientNames")

NAMES = {
    "ISO_IR 6": "Doe^John",
    "ISO_IR 100": "Müller^Jürgen",
    "ISO_IR 101": "Wałęsa^Łukasz",
    "ISO_IR 144": "Люкceмбypг^Роза",
    "ISO_IR 126": "Διονυσιος",
    "ISO_IR 192": "Müller^Юрий=山田^太郎",
    "GB18030": "Wang^XiaoDong=王^小东",
    "\\ISO 2022 IR 87": "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "\\ISO 2022 IR 149": "Hong^Gildong=洪^吉洞=홍^길동",
    "ISO 2022 IR 13\\ISO 2022 IR 87": "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
}


def as_received(headers: list[Dataset]) -> list[Dataset]:
    """The headers as they come out of an archive: encoded, then read again."""
    received = []
    for header in headers:
        header.file_meta = FileMetaDataset()
        header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        buffer = BytesIO()
        pydicom.dcmwrite(buffer, header, enforce_file_format=True)
        received.append(pydicom.dcmread(BytesIO(buffer.getvalue())))
    return received


def with_patient_of(fixture: Dataset, count: int = 12) -> list[Dataset]:
    """An axial series whose every header carries the patient, study and character set of `fixture`."""
    headers = ct_headers(count)
    for header in headers:
        for keyword in PATIENT_AND_STUDY:
            if keyword in header:
                del header[keyword]
            if keyword in fixture:
                header[keyword] = fixture[keyword]
        header.StudyInstanceUID = fixture.StudyInstanceUID
        for keyword in ("SpecificCharacterSet", "TimezoneOffsetFromUTC"):
            header[keyword] = fixture[keyword]
    return headers


def objects_about(headers: list[Dataset], context: ReportContext) -> list[Dataset]:
    result = study_result(headers)
    objects = build_objects(result, headers, key_slices(result), context)
    return [pydicom.dcmread(BytesIO(item.to_bytes())) for item in objects]


def receive(headers: list[Dataset], keyword: str, vr: str, content: bytes) -> None:
    """Put an element into every header as the bytes of a stream, whatever they are worth."""
    tag = Tag(keyword)
    for header in headers:
        header[tag] = RawDataElement(tag, vr, len(content), content, 0, False, True)


def plain(dataset: Dataset, keyword: str) -> object:
    """A value as text, so that two datasets in two character sets can be compared."""
    value = dataset.get(keyword)
    if isinstance(value, Sequence):
        return [{element.keyword: plain(item, element.keyword) for element in item} for item in value]
    return "" if value is None else str(value)


@pytest.mark.parametrize("character_set", NAMES)
def test_text_is_equal_after_decoding(character_set: str, context: ReportContext) -> None:
    headers = ct_headers(12)
    for header in headers:
        header.SpecificCharacterSet = "" if character_set == "ISO_IR 6" else character_set.split("\\")
        header.PatientName = header.ReferringPhysicianName = NAMES[character_set]
        ideographs = NAMES[character_set].split("=")[-1].replace("^", " ")
        header.StudyDescription = header.PatientComments = ideographs
        request = Dataset()
        request.RequestedProcedureID, request.RequestedProcedureDescription = "RP1", ideographs
        request.ScheduledProcedureStepID = "SPS1"
        header.RequestAttributesSequence = [request]
    for written in objects_about(as_received(headers), context):
        assert written.SpecificCharacterSet == "ISO_IR 192"
        assert str(written.PatientName) == str(written.ReferringPhysicianName) == NAMES[character_set]
        assert written.StudyDescription == written.PatientComments == ideographs
        requests = "ReferencedRequestSequence" if written.Modality == "SR" else "RequestAttributesSequence"
        assert written[requests].value[0].RequestedProcedureDescription == ideographs


@pytest.mark.parametrize("character_set", [name for name in NAMES if name != "ISO_IR 6"])
def test_validator_finds_no_error_in_any_character_set(
    character_set: str, context: ReportContext, iod_errors: Callable[[bytes], list[str]]
) -> None:
    headers = ct_headers(12)
    for header in headers:
        header.SpecificCharacterSet = character_set.split("\\")
        header.PatientName = header.ReferringPhysicianName = NAMES[character_set]
    headers = as_received(headers)
    result = study_result(headers)
    for item in build_objects(result, headers, key_slices(result), context):
        assert iod_errors(item.to_bytes()) == []


@pytest.mark.parametrize(
    "name",
    ["SCSRUSS", "chrRuss.dcm", "chrH32.dcm", "chrKoreanMulti.dcm", "Lena-cyrillic.dcm", "Lena-utf8.dcm"],
)
def test_real_headers_keep_patient_and_study(name: str, ct_data: Path, context: ReportContext) -> None:
    fixture = pydicom.dcmread(ct_data / "fixtures" / "charsets" / name, stop_before_pixels=True)
    fixture.setdefault("TimezoneOffsetFromUTC", None)
    headers = with_patient_of(fixture)
    for written in objects_about(headers, context):
        for keyword in PATIENT_AND_STUDY:
            assert plain(written, keyword) == plain(fixture, keyword), keyword
        assert written.get("TimezoneOffsetFromUTC") == (fixture.TimezoneOffsetFromUTC or None)


@pytest.mark.parametrize(
    "missing", [*[(keyword,) for keyword in TYPE_2], TYPE_2], ids=lambda keys: "+".join(keys)[:40]
)
def test_absent_type_2_attributes_are_written_empty(
    missing: tuple[str, ...], context: ReportContext, iod_errors: Callable[[bytes], list[str]]
) -> None:
    headers = ct_headers(12)
    for header in headers:
        for keyword in missing:
            delattr(header, keyword)
    result = study_result(headers)
    for item in build_objects(result, headers, key_slices(result), context):
        written = pydicom.dcmread(BytesIO(item.to_bytes()))
        for keyword in TYPE_2:
            assert keyword in written
            assert plain(written, keyword) == plain(headers[0], keyword)
        assert iod_errors(item.to_bytes()) == []


@pytest.mark.parametrize("keyword", TYPE_2)
def test_empty_type_2_attributes_stay_empty(
    keyword: str, headers: list[Dataset], context: ReportContext, iod_errors: Callable[[bytes], list[str]]
) -> None:
    for header in headers:
        setattr(header, keyword, None)
    item = built(study_result(headers), headers, context)
    read = pydicom.dcmread(BytesIO(item.to_bytes()))
    assert keyword in read
    assert plain(read, keyword) == ""
    assert iod_errors(item.to_bytes()) == []


def test_identity_issuers_and_order_are_carried_over(context: ReportContext) -> None:
    headers = ct_headers(12)
    issuer = Dataset()
    issuer.LocalNamespaceEntityID = "Krankenhaus Süd"
    procedure = Dataset()
    procedure.CodeValue, procedure.CodingSchemeDesignator, procedure.CodeMeaning = (
        "CTTX",
        "99RIS",
        "CT Thorax",
    )
    for header in headers:
        header.IssuerOfPatientID, header.OtherPatientIDs = "KIS", ["X1", "X2"]
        header.IssuerOfAccessionNumberSequence = [issuer]
        request = Dataset()
        request.RequestedProcedureID, request.ScheduledProcedureStepID = "RP1", "SPS1"
        request.RequestedProcedureDescription = "CT Thorax nativ"
        request.RequestedProcedureCodeSequence = [procedure]
        request.AccessionNumber, request.StudyInstanceUID = "A-1", "1.2.3"
        header.RequestAttributesSequence = [request]
        header.PlacerOrderNumberImagingServiceRequest = "P-9"
        header.TimezoneOffsetFromUTC = "-0330"
    report, *images = objects_about(as_received(headers), context)
    for written in (report, *images):
        assert (written.IssuerOfPatientID, list(written.OtherPatientIDs)) == ("KIS", ["X1", "X2"])
        assert written.IssuerOfAccessionNumberSequence[0].LocalNamespaceEntityID == "Krankenhaus Süd"
        assert written.TimezoneOffsetFromUTC == "-0330"
        # 09:30:15 UTC in the source's own offset, which governs every time of the object
        assert (written.ContentDate, written.ContentTime) == ("20260301", "060015.250000")
    (item,) = report.ReferencedRequestSequence
    assert (item.StudyInstanceUID, item.AccessionNumber, item.RequestedProcedureID) == ("1.2.3", "A-1", "RP1")
    assert item.PlacerOrderNumberImagingServiceRequest == "P-9"
    assert (
        item.FillerOrderNumberImagingServiceRequest is None
        or item.FillerOrderNumberImagingServiceRequest == ""
    )
    assert item.RequestedProcedureCodeSequence[0].CodeValue == "CTTX"
    assert "RequestAttributesSequence" not in report
    assert images[0].RequestAttributesSequence[0].RequestedProcedureID == "RP1"


def test_without_an_offset_times_are_local_and_none_is_claimed(
    headers: list[Dataset], context: ReportContext
) -> None:
    for written in objects_about(headers, context):
        assert "TimezoneOffsetFromUTC" not in written
        assert written.ContentTime == "123015.250000"  # 09:30:15 UTC in Moscow
        assert "ReferencedRequestSequence" not in written


def test_an_order_at_the_top_level_becomes_a_request(headers: list[Dataset], context: ReportContext) -> None:
    for header in headers:
        header.RequestedProcedureID = "RP7"
    report = objects_about(headers, context)[0]
    (item,) = report.ReferencedRequestSequence
    assert (item.RequestedProcedureID, item.AccessionNumber) == ("RP7", "A-4711")


@pytest.mark.parametrize(
    ("keyword", "value"), [("PatientSex", "männlich"), ("PatientBirthDate", "1960"), ("StudyTime", "25:61")]
)
def test_an_invalid_value_is_carried_over_as_it_is(
    keyword: str, value: str, headers: list[Dataset], context: ReportContext
) -> None:
    element = pydicom.DataElement(
        keyword, headers[0][keyword].VR, value, validation_mode=pydicom.config.IGNORE
    )
    headers[0].add(element)
    result = study_result(headers)
    for item in build_objects(result, headers, key_slices(result), context):
        assert str(item.dataset[keyword].value) == value


@pytest.mark.parametrize(
    ("keyword", "vr", "value", "expected"),
    [
        ("StudyDate", "DA", b"1999.05.24", "19990524"),
        ("StudyTime", "TM", b"11:42:21", "114221"),
        ("StudyTime", "TM", b"11:42 ", "1142"),
        ("PatientBirthDate", "DA", b"00000000", ""),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_date_in_the_form_of_old_is_written_in_that_of_today(
    *,
    keyword: str,
    vr: str,
    value: bytes,
    expected: str,
    headers: list[Dataset],
    context: ReportContext,
    iod_errors: Callable[[bytes], list[str]],
) -> None:
    receive(headers, keyword, vr, value)
    result = study_result(headers)
    for item in build_objects(result, headers, key_slices(result), context)[:2]:
        assert iod_errors(item.to_bytes()) == []
        assert plain(item.dataset, keyword) == expected


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        ({"ClinicalTrialProtocolName": "Trial"}, False),
        ({"ClinicalTrialSponsorName": "", "ClinicalTrialProtocolID": "P1"}, False),
        (
            {
                "ClinicalTrialSponsorName": "Sponsor",
                "ClinicalTrialProtocolID": "P1",
                "ClinicalTrialProtocolName": "Trial",
                "ClinicalTrialSiteID": "S",
                "ClinicalTrialSiteName": "Site",
                "ClinicalTrialSubjectID": "17",
                "ClinicalTrialTimePointID": "T1",
            },
            True,
        ),
        ({"PatientIdentityRemoved": "YES"}, False),
        ({"PatientIdentityRemoved": "YES", "DeidentificationMethod": ""}, False),
        ({"PatientIdentityRemoved": "YES", "DeidentificationMethod": "By hand"}, True),
    ],
)
def test_half_a_module_is_left_out_and_a_whole_one_kept(
    *,
    values: dict[str, str],
    kept: bool,
    headers: list[Dataset],
    context: ReportContext,
    iod_errors: Callable[[bytes], list[str]],
) -> None:
    for header in headers:
        for keyword, value in values.items():
            setattr(header, keyword, value)
    result = study_result(headers)
    for item in build_objects(result, headers, key_slices(result), context)[:2]:
        assert iod_errors(item.to_bytes()) == []
        assert {keyword in item.dataset for keyword in values} == {kept}


def test_a_number_that_is_none_costs_no_report(headers: list[Dataset], context: ReportContext) -> None:
    receive(headers, "PatientWeight", "DS", b"60kg")
    for item in objects_about(headers, context):
        assert "PatientWeight" not in item
        assert str(item.PatientName) == "Müller^Jürgen"


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        ("ISO_IR 192", b"M\xfcller^J\xfcrgen"),  # Latin-1 bytes declared as UTF-8
        ("ISO 2022 IR 149", b"Hong\x1b$)Zxx"),  # an escape sequence that is none
        ("ISO_IR 999", b"Smith^John"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_text_that_would_be_lost_is_an_error(
    character_set: str, name: bytes, headers: list[Dataset], result: StudyResult, context: ReportContext
) -> None:
    header = headers[0]
    header.SpecificCharacterSet = "ISO_IR 100"
    header.PatientName = "placeholder name 12"[: len(name)].ljust(len(name), "x")
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = BytesIO()
    pydicom.dcmwrite(buffer, header, enforce_file_format=True)
    padded = str(header.PatientName).encode() + b" " * (len(name) % 2)
    declared = character_set.encode() + b" " * (len(character_set) % 2)
    content = buffer.getvalue().replace(padded, name + b" " * (len(name) % 2))
    old = b"\x08\x00\x05\x00CS" + len(b"ISO_IR 100").to_bytes(2, "little") + b"ISO_IR 100"
    content = content.replace(old, b"\x08\x00\x05\x00CS" + len(declared).to_bytes(2, "little") + declared)
    headers[0] = pydicom.dcmread(BytesIO(content))
    with pytest.raises(SourceEncodingError) as error:
        build_objects(result, headers, key_slices(result), context)
    assert "ller" not in str(error.value)
    assert "Smith" not in str(error.value)


@pytest.mark.parametrize(
    ("keyword", "vr", "content"),
    [
        ("SliceThickness", "DS", b"5mm "),
        ("SliceThickness", "DS", b"1.25\\2"),
        ("LossyImageCompression", "CS", b"NO"),
        ("TimezoneOffsetFromUTC", "SH", b"+9900 "),
        ("TimezoneOffsetFromUTC", "SH", b"+01:00"),
        ("ProcedureCodeSequence", "LO", b"CT Thorax "),
        ("RequestAttributesSequence", "UN", b"12345678"),
        ("PatientSex", "LO", b"F "),
        ("PatientSex", "??", b"F "),
        ("PatientAge", "UN", b"066Y"),
        ("PatientWeight", "DS", b"60.123456789012345678 "),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_malformed_element_costs_no_report_and_makes_no_invalid_one(
    keyword: str, vr: str, content: bytes, context: ReportContext, iod_errors: Callable[[bytes], list[str]]
) -> None:
    headers = ct_headers(4)
    receive(headers, keyword, vr, content)
    result = study_result(headers)
    for item in build_objects(result, headers, key_slices(result), context)[:2]:
        assert iod_errors(item.to_bytes()) == []
        assert str(item.dataset.PatientName) == "Müller^Jürgen"


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_malformed_lossy_ratio_still_leaves_a_lossy_image(context: ReportContext) -> None:
    headers = ct_headers(4)
    receive(headers, "LossyImageCompression", "CS", b"01")
    receive(headers, "LossyImageCompressionRatio", "DS", b"8:1 ")
    image = objects_about(headers, context)[1]
    assert image.LossyImageCompression == "01"
    assert "LossyImageCompressionRatio" not in image


def test_a_number_of_too_many_digits_is_rounded_to_what_its_representation_holds(
    context: ReportContext,
) -> None:
    headers = ct_headers(4)
    receive(headers, "PatientWeight", "DS", b"60.123456789012345678 ")
    receive(headers, "PatientSize", "DS", b"1.70")
    for written in objects_about(headers, context):
        assert str(written.PatientWeight) == "60.1234567890123"
        assert str(written.PatientSize) == "1.70"


def test_sequences_that_say_nothing_are_left_out(
    context: ReportContext, iod_errors: Callable[[bytes], list[str]]
) -> None:
    headers = ct_headers(4)
    for header in headers:
        header.ProcedureCodeSequence, header.OtherPatientIDsSequence = [], []
        header.IssuerOfPatientIDQualifiersSequence = header.RequestAttributesSequence = [Dataset()]
        header.CodingSchemeIdentificationSequence = [Dataset()]
    result = study_result(headers)
    for item in build_objects(result, headers, key_slices(result), context)[:2]:
        assert iod_errors(item.to_bytes()) == []
        assert "ProcedureCodeSequence" not in item.dataset
        assert "ReferencedRequestSequence" not in item.dataset


@pytest.mark.parametrize(
    ("keyword", "vr", "content", "expected"),
    [
        ("PatientID", "IS", b"ID-17A", "ID-17A"),
        ("AccessionNumber", "DS", b"A-4711", "A-4711"),
        ("AccessionNumber", "IS", b"004711", "004711"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_an_identifier_that_a_stream_calls_a_number_is_not_lost(
    *, keyword: str, vr: str, content: bytes, expected: str, context: ReportContext
) -> None:
    headers = as_received(ct_headers(4))
    receive(headers, keyword, vr, content)
    for written in objects_about(headers, context):
        assert str(written[keyword].value) == expected


def test_an_element_has_the_dictionary_s_value_representation(context: ReportContext) -> None:
    headers = ct_headers(4)
    receive(headers, "PatientSex", "LO", b"F ")
    for written in objects_about(headers, context):
        assert (written["PatientSex"].VR, written.PatientSex) == ("CS", "F")
    receive(headers, "PatientComments", "OB", b"Text")  # bytes that no character set governs
    assert taken_over(headers[0], ("PatientComments",)) == []


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("CodingSchemeDesignator", "99" + "S" * 18),
        ("CodingSchemeDesignator", "99RIS\\99PACS"),
        ("CodeMeaning", "CT\\Thorax"),
        ("CodeValue", "A\\B"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_procedure_code_that_is_no_code_is_not_reported(
    keyword: str, value: str, headers: list[Dataset], result: StudyResult
) -> None:
    procedure = Dataset()
    procedure.CodeValue, procedure.CodingSchemeDesignator, procedure.CodeMeaning = "CTTX", "99RIS", "CT"
    setattr(procedure, keyword, value.split("\\") if "\\" in value else value)
    headers[0].ProcedureCodeSequence = [procedure]
    assert read_source(result, headers).procedures == []


def test_a_volume_without_images_has_no_objects(result: StudyResult, context: ReportContext) -> None:
    with pytest.raises(SourceError, match="no DICOM images"):
        build_objects(result, [], key_slices(result), context)


def test_headers_must_be_those_of_the_analysed_instances(headers: list[Dataset], result: StudyResult) -> None:
    with pytest.raises(SourceError, match="no header"):
        read_source(result, headers[:-1])
    with pytest.raises(SourceError, match="does not belong"):
        read_source(replace(result, study_uid="1.2.3"), headers)
