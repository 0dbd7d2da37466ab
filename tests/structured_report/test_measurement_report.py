"""The structured report: rows of its templates, order of its groups, and what other readers make of it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import highdicom as hd
import pydicom
import pytest
from pydicom.dataset import Dataset

from inference.study_result import Calibration, Finding, StudyResult
from structured_report import PredecessorDocument, ReportContext, ReportObject, build_objects
from tests.structured_report.samples import (
    ct_headers,
    key_slices,
    read_headers,
    result_of_many,
    study_result,
)

Code = tuple[str, str]

DEVICE, LANGUAGE, OBSERVER = ("121007", "DCM"), ("121049", "DCM"), ("121005", "DCM")
LIBRARY, LIBRARY_GROUP = ("111028", "DCM"), ("126200", "DCM")
MEASUREMENTS, GROUP = ("126010", "DCM"), ("125007", "DCM")
WORDS = ("C0034375", "UMLS")
FINDING, SITE, SIDE = ("121071", "DCM"), ("363698007", "SCT"), ("272741003", "SCT")
PROBABILITY, PRESENCE, COMMENT = ("122157", "DCM"), ("705057003", "SCT"), ("121106", "DCM")
PRESENT, ABSENT = ("52101004", "SCT"), ("272519000", "SCT")
UNDETERMINED, INDETERMINATE = ("373068000", "SCT"), ("82334004", "SCT")
VERDICT = ("verdict", "99DICOMNODE")
TRACKING, TRACKING_UID = ("112039", "DCM"), ("112040", "DCM")
NAME, VERSION, PARAMETER, MANUFACTURER = (
    ("111001", "DCM"),
    ("111003", "DCM"),
    ("111002", "DCM"),
    ("122405", "DCM"),
)
SOURCE, SOURCE_OF_MEASUREMENT = ("260753009", "SCT"), ("121112", "DCM")


@pytest.fixture
def report(headers: list[Dataset], result: StudyResult, context: ReportContext) -> Dataset:
    return written(built(result, headers, context))


def built(result: StudyResult, headers: list[Dataset], context: ReportContext) -> ReportObject:
    item = build_objects(result, headers, key_slices(result), context)[0]
    assert item.kind == "sr"
    return item


def written(item: ReportObject) -> Dataset:
    return pydicom.dcmread(BytesIO(item.to_bytes()))


def coded(sequence: list[Dataset]) -> Code:
    return sequence[0].CodeValue, sequence[0].CodingSchemeDesignator


def children(item: Dataset, name: Code, value_type: str | None = None) -> list[Dataset]:
    return [
        child
        for child in item.get("ContentSequence", [])
        if coded(child.ConceptNameCodeSequence) == name and value_type in (None, child.ValueType)
    ]


def groups(report: Dataset) -> list[Dataset]:
    return children(children(report, MEASUREMENTS)[0], GROUP)


def group_of(report: Dataset, name: str) -> Dataset:
    return next(group for group in groups(report) if children(group, TRACKING)[0].TextValue == name)


def everything(item: Dataset) -> Iterator[Dataset]:
    yield item
    for child in item.get("ContentSequence", []):
        yield from everything(child)


# Row, relationship, value type, concept name, least and greatest number, and the values allowed (PS3.16).
ROOT_ROWS = [
    ("TID 1204 row 1", "HAS CONCEPT MOD", "CODE", LANGUAGE, 1, 1, {("en", "RFC5646")}),
    ("TID 1002 row 1", "HAS OBS CONTEXT", "CODE", OBSERVER, 1, 1, {DEVICE}),
    ("TID 1004 row 1", "HAS OBS CONTEXT", "UIDREF", ("121012", "DCM"), 1, 1, None),
    ("TID 1004 row 2", "HAS OBS CONTEXT", "TEXT", ("121013", "DCM"), 0, 1, None),
    ("TID 1004 row 3", "HAS OBS CONTEXT", "TEXT", ("121014", "DCM"), 1, 1, None),
    ("TID 1004 row 4", "HAS OBS CONTEXT", "TEXT", ("121015", "DCM"), 1, 1, None),
    ("TID 1500 row 4", "HAS CONCEPT MOD", "CODE", ("121058", "DCM"), 1, 9, None),
    ("TID 1600 row 1", "CONTAINS", "CONTAINER", LIBRARY, 1, 1, None),
    ("TID 1500 row 6", "CONTAINS", "CONTAINER", MEASUREMENTS, 1, 1, None),
    ("TID 1500 row 12", "CONTAINS", "CONTAINER", WORDS, 1, 1, None),
]
GROUP_ROWS = [
    ("TID 1501 row 2", "HAS OBS CONTEXT", "TEXT", TRACKING, 1, 1, None),
    ("TID 1501 row 3", "HAS OBS CONTEXT", "UIDREF", TRACKING_UID, 1, 1, None),
    ("TID 1501 row 3b", "CONTAINS", "CODE", FINDING, 1, 1, None),
    ("TID 1501 row 6", "HAS CONCEPT MOD", "CODE", SITE, 0, 1, None),
    ("TID 4019 row 1", "HAS CONCEPT MOD", "TEXT", NAME, 1, 1, None),
    ("TID 4019 row 2", "HAS CONCEPT MOD", "TEXT", VERSION, 1, 1, None),
    ("TID 4019 row 2b", "HAS CONCEPT MOD", "TEXT", MANUFACTURER, 1, 1, None),
    ("TID 4019 row 3", "HAS CONCEPT MOD", "TEXT", PARAMETER, 1, 12, None),
    ("TID 300 row 1", "CONTAINS", "NUM", PROBABILITY, 1, 1, None),
    ("TID 1501 row 10b", "CONTAINS", "IMAGE", SOURCE_OF_MEASUREMENT, 1, 1, None),
    ("TID 1501 row 11", "CONTAINS", "CODE", PRESENCE, 1, 1, {PRESENT, ABSENT}),
    ("TID 1501 row 12", "CONTAINS", "TEXT", COMMENT, 1, 2, None),
]


Row = tuple[str, str, str, Code, int, int, set[Code] | None]


def check_row(parent: Dataset, row: Row) -> None:
    _, relationship, value_type, name, least, greatest, allowed = row
    found = children(parent, name)
    assert least <= len(found) <= greatest
    for item in found:
        assert (item.RelationshipType, item.ValueType) == (relationship, value_type)
        if allowed is not None:
            assert coded(item.ConceptCodeSequence) in allowed
        if value_type == "TEXT":
            assert item.TextValue
        if value_type == "UIDREF":
            assert pydicom.uid.UID(item.UID).is_valid


@pytest.mark.parametrize("row", ROOT_ROWS, ids=lambda row: row[0])
def test_rows_of_the_root(row: Row, report: Dataset) -> None:
    check_row(report, row)


@pytest.mark.parametrize("row", GROUP_ROWS, ids=lambda row: row[0])
def test_rows_of_every_finding_and_of_the_study(row: Row, report: Dataset) -> None:
    evaluated = [group for group in groups(report) if children(group, TRACKING)[0].TextValue != "Quantities"]
    assert len(evaluated) == 5
    for group in evaluated:
        check_row(group, row)


def test_the_root_is_tid_1500_in_the_order_of_its_rows(report: Dataset) -> None:
    assert coded(report.ConceptNameCodeSequence) == ("126000", "DCM")  # CID 7021
    template = report.ContentTemplateSequence[0]
    assert (template.MappingResource, template.TemplateIdentifier) == ("DCMR", "1500")
    names = [coded(item.ConceptNameCodeSequence) for item in report.ContentSequence]
    assert names[:2] == [LANGUAGE, OBSERVER]
    assert names[-3:] == [LIBRARY, MEASUREMENTS, WORDS]
    for group in groups(report):
        assert group.ContentTemplateSequence[0].TemplateIdentifier == "1501"


def test_state_and_series_of_the_document(report: Dataset, headers: list[Dataset]) -> None:
    assert (report.SOPClassUID, report.Modality) == ("1.2.840.10008.5.1.4.1.1.88.34", "SR")
    assert (report.VerificationFlag, report.CompletionFlag) == ("UNVERIFIED", "COMPLETE")
    assert report.SpecificCharacterSet == "ISO_IR 192"
    assert report.StudyInstanceUID == headers[0].StudyInstanceUID
    assert report.SeriesInstanceUID != headers[0].SeriesInstanceUID
    assert report.SeriesNumber == 9000
    assert report.SeriesDescription.startswith("AI ")


def test_present_findings_come_first_by_danger_then_absent_ones(report: Dataset) -> None:
    names = [children(group, TRACKING)[0].TextValue for group in groups(report)]
    assert names == ["Study", "Lung nodule", "Pleural effusion", "Emphysema", "Cardiomegaly", "Quantities"]


@pytest.mark.parametrize(
    ("name", "finding", "percent", "presence", "operating_point"),
    [
        ("Study", ("pathology", "99DICOMNODE"), 96.25, PRESENT, "operating_point=0.5"),
        ("Lung nodule", ("786838002", "SCT"), 87.34, PRESENT, "operating_point=0.5"),
        ("Pleural effusion", ("60046008", "SCT"), 91.0, PRESENT, "operating_point=0.6"),
        ("Emphysema", ("87433001", "SCT"), 31.0, ABSENT, "operating_point=0.4"),
        ("Cardiomegaly", ("8186001", "SCT"), 12.5, ABSENT, "operating_point=0.5"),
    ],
)
def test_what_a_group_says(
    *, name: str, finding: Code, percent: float, presence: Code, operating_point: str, report: Dataset
) -> None:
    group = group_of(report, name)
    assert coded(children(group, FINDING)[0].ConceptCodeSequence) == finding
    (number,) = children(group, PROBABILITY)
    measured = number.MeasuredValueSequence[0]
    assert float(measured.NumericValue) == pytest.approx(percent, abs=0.005)
    assert coded(measured.MeasurementUnitsCodeSequence) == ("%", "UCUM")
    assert coded(children(group, PRESENCE)[0].ConceptCodeSequence) == presence
    assert children(group, PARAMETER)[0].TextValue == operating_point


def test_the_study_names_its_most_dangerous_pathology(
    report: Dataset, normal_result: StudyResult, headers: list[Dataset], context: ReportContext
) -> None:
    name = ("most-dangerous", "99DICOMNODE")
    (item,) = children(group_of(report, "Study"), name)
    assert coded(item.ConceptCodeSequence) == ("786838002", "SCT")
    normal = group_of(written(built(normal_result, headers, context)), "Study")
    assert children(normal, name) == []
    assert coded(children(normal, PRESENCE)[0].ConceptCodeSequence) == ABSENT


def test_an_indeterminate_study_is_called_neither_present_nor_absent(
    *,
    report: Dataset,
    indeterminate_result: StudyResult,
    headers: list[Dataset],
    context: ReportContext,
    iod_errors: Callable[[bytes], list[str]],
) -> None:
    item = built(indeterminate_result, headers, context)
    study = group_of(written(item), "Study")
    assert [coded(one.ConceptCodeSequence) for one in children(study, PRESENCE)] == [UNDETERMINED]
    (verdict,) = children(study, VERDICT)
    assert (verdict.RelationshipType, coded(verdict.ConceptCodeSequence)) == ("CONTAINS", INDETERMINATE)
    sentence = children(children(item.dataset, WORDS)[0], ("121077", "DCM"))[0].TextValue
    assert "operating point 50.0 %: indeterminate (from 45.0 % to 55.0 %)" in sentence
    assert "By the operating point alone: pathology present." in sentence
    assert iod_errors(item.to_bytes()) == []
    assert children(group_of(report, "Study"), VERDICT) == []


def test_site_and_side(report: Dataset) -> None:
    (site,) = children(group_of(report, "Pleural effusion"), SITE)
    assert coded(site.ConceptCodeSequence) == ("3120008", "SCT")
    assert coded(children(site, SIDE)[0].ConceptCodeSequence) == ("7771000", "SCT")
    (site,) = children(group_of(report, "Emphysema"), SITE)
    assert children(site, SIDE) == []


def test_what_lies_in_the_middle_has_no_side(
    result: StudyResult, headers: list[Dataset], context: ReportContext
) -> None:
    heart = Finding("Cardiomegaly", 0.9, 0.5, True, 2, {}, "left", result.key_slices[0])
    report = written(built(replace(result, findings=(heart,)), headers, context))
    (site,) = children(group_of(report, "Cardiomegaly"), SITE)
    assert coded(site.ConceptCodeSequence) == ("80891009", "SCT")
    assert children(site, SIDE) == []


def test_an_absent_finding_stays_below_its_operating_point_in_every_number(
    normal_result: StudyResult, headers: list[Dataset], context: ReportContext
) -> None:
    report = written(built(replace(normal_result, probability=0.499999), headers, context))
    (number,) = children(group_of(report, "Study"), PROBABILITY)
    assert 49.99 < float(number.MeasuredValueSequence[0].NumericValue) < 50.0
    sentences = [item.TextValue for item in children(report, WORDS)[0].ContentSequence]
    assert "Probability of pathology 49.9999 %, operating point 50.0 %: pathology absent." in sentences[1]


def test_every_number_has_a_point_on_its_slice_which_is_called_an_anchor(
    report: Dataset, result: StudyResult
) -> None:
    slices = {finding.name: finding.best_slice or result.key_slices[0] for finding in result.findings}
    slices |= {"Study": result.key_slices[0], "Quantities": result.key_slices[0]}
    for group in groups(report):
        expected = slices[children(group, TRACKING)[0].TextValue]
        numbers = [item for item in group.ContentSequence if item.ValueType == "NUM"]
        assert numbers
        for number in numbers:
            (point,) = children(number, SOURCE, "SCOORD")
            assert (point.RelationshipType, point.GraphicType) == ("INFERRED FROM", "POINT")
            assert list(point.GraphicData) == [expected.column + 0.5, expected.row + 0.5]
            (image,) = children(point, SOURCE, "IMAGE")
            assert image.RelationshipType == "SELECTED FROM"
            assert image.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == expected.sop_instance_uid
        assert "neither the location nor the outline" in children(group, COMMENT)[0].TextValue


def test_quantities_carry_unit_and_method(report: Dataset) -> None:
    group = group_of(report, "Quantities")
    (number,) = [item for item in group.ContentSequence if item.ValueType == "NUM"]
    assert number.ConceptNameCodeSequence[0].CodeMeaning == "Lung volume"
    assert float(number.MeasuredValueSequence[0].NumericValue) == 4.2
    assert coded(number.MeasuredValueSequence[0].MeasurementUnitsCodeSequence) == ("l", "UCUM")
    assert "Voxels of the lung mask" in children(group, COMMENT)[1].TextValue


def test_tracking_uids_are_unique_and_follow_from_the_key(
    report: Dataset, result: StudyResult, headers: list[Dataset], context: ReportContext
) -> None:
    uids = [children(group, TRACKING_UID)[0].UID for group in groups(report)]
    assert len(set(uids)) == len(uids)
    again = written(built(replace(result, key="aa"), headers, context))
    assert not set(uids) & {children(group, TRACKING_UID)[0].UID for group in groups(again)}


def test_sentences_hold_notice_conclusion_weights_and_warnings(report: Dataset) -> None:
    sentences = [item.TextValue for item in children(report, WORDS)[0].ContentSequence]
    assert sentences[0].startswith("DEMONSTRATION - NOT FOR DIAGNOSIS")
    assert "Probability of pathology 96.2 %" in sentences[1]
    assert "Lung nodule (87.3 %), Pleural effusion (91.0 %)" in sentences[1]
    assert "Findings below theirs: 2." in sentences[1]
    assert "Most dangerous pathology: Lung nodule." in sentences[1]
    assert "supervised_Lung nodule = 0.873 (+2.50)" in sentences[2]
    assert sentences[3] == "One missing slice was interpolated."
    assert sentences[4].startswith("Computed by dicom-node 0.1.0 with bundle demo 1.0.0")
    assert len(sentences) == 5


def test_the_calibration_is_told_in_a_sentence(
    result: StudyResult, headers: list[Dataset], context: ReportContext
) -> None:
    told = "The probability is calibrated by Platt scaling (measured on 200 cases)."
    calibration = Calibration(0.9, "platt", 1.1, 0.1, "Studies", 200, 0.2, 0.1, 0.1, 0.05, told)
    report = written(built(replace(result, calibration=calibration), headers, context))
    assert told in [item.TextValue for item in children(report, WORDS)[0].ContentSequence]


def test_every_warning_is_a_comment(
    result: StudyResult, headers: list[Dataset], context: ReportContext
) -> None:
    warnings = tuple(f"The fusion column okhr_{number} is held at 0: no such network" for number in range(9))
    report = written(built(replace(result, warnings=warnings), headers, context))
    comments = [item.TextValue for item in children(children(report, WORDS)[0], COMMENT)]
    assert set(warnings) <= set(comments)


def test_only_a_demonstration_bundle_makes_a_demonstration_report(
    result: StudyResult, headers: list[Dataset], context: ReportContext
) -> None:
    bundle = replace(result.bundle, demonstration=False)
    item = built(replace(result, bundle=bundle), headers, context)
    assert b"DEMONSTRATION" not in item.to_bytes()
    assert item.dataset.SeriesDescription == "AI report"


def test_procedure_comes_from_the_source_and_else_from_context_group_100(
    report: Dataset, headers: list[Dataset], result: StudyResult, context: ReportContext
) -> None:
    procedure = ("121058", "DCM")
    assert coded(children(report, procedure)[0].ConceptCodeSequence) == ("25045-6", "LN")
    for header, value in ((headers[0], "CTTX"), (headers[0], "ZWEI")):
        code = Dataset()
        code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "99RIS", "CT Thorax"
        header.ProcedureCodeSequence = [*header.get("ProcedureCodeSequence", []), code, Dataset()]
    scheme = Dataset()
    scheme.CodingSchemeDesignator, scheme.CodingSchemeName = "99RIS", "Our RIS"
    headers[0].CodingSchemeIdentificationSequence = [scheme]
    with_code = written(built(result, headers, context))
    assert [coded(item.ConceptCodeSequence) for item in children(with_code, procedure)] == [
        ("CTTX", "99RIS"),
        ("ZWEI", "99RIS"),
    ]
    declared = [item.CodingSchemeDesignator for item in with_code.CodingSchemeIdentificationSequence]
    assert declared == ["99DICOMNODE", "99RIS"]


def test_every_private_code_has_its_scheme_declared(
    result: StudyResult, headers: list[Dataset], context: ReportContext
) -> None:
    unforeseen = Finding("ribs_fracture", 0.9, 0.5, True, 1, {})
    report = written(built(replace(result, findings=(*result.findings, unforeseen)), headers, context))
    (scheme,) = report.CodingSchemeIdentificationSequence
    assert scheme.CodingSchemeDesignator == "99DICOMNODE"
    assert scheme.CodingSchemeName
    used = {
        code.CodingSchemeDesignator
        for item in everything(report)
        for keyword in ("ConceptNameCodeSequence", "ConceptCodeSequence")
        for code in item.get(keyword, [])
    }
    assert {name for name in used if name.startswith("99")} == {"99DICOMNODE"}
    assert (
        coded(children(group_of(report, "ribs_fracture"), FINDING)[0].ConceptCodeSequence)[1] == "99DICOMNODE"
    )


def test_all_instances_are_evidence_and_in_the_library(report: Dataset, headers: list[Dataset]) -> None:
    uids = [header.SOPInstanceUID for header in headers]
    (study,) = report.CurrentRequestedProcedureEvidenceSequence
    (series,) = study.ReferencedSeriesSequence
    assert (study.StudyInstanceUID, series.SeriesInstanceUID) == (
        headers[0].StudyInstanceUID,
        headers[0].SeriesInstanceUID,
    )
    assert [item.ReferencedSOPInstanceUID for item in series.ReferencedSOPSequence] == uids
    (group,) = children(children(report, LIBRARY)[0], LIBRARY_GROUP)
    listed = [
        item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for item in children(group, SOURCE, "IMAGE")
    ]
    assert listed == uids
    assert coded(children(group, ("121139", "DCM"))[0].ConceptCodeSequence) == ("CT", "DCM")


def test_validator_finds_no_error(
    result: StudyResult,
    normal_result: StudyResult,
    headers: list[Dataset],
    context: ReportContext,
    iod_errors: Callable[[bytes], list[str]],
) -> None:
    for one in (result, normal_result):
        assert iod_errors(built(one, headers, context).to_bytes()) == []


def test_dsrdump_prints_probability_and_names(
    result: StudyResult, headers: list[Dataset], context: ReportContext, tmp_path: Path
) -> None:
    path = tmp_path / "report.dcm"
    path.write_bytes(built(result, headers, context).to_bytes())
    # -Ee would accept a faulty document; without it dsrdump stops at the first violation of the IOD.
    done = subprocess.run(["dsrdump", "+Pl", "+U8", path], capture_output=True, check=True, timeout=60)
    printed = done.stdout.decode()
    for expected in (
        "96.25",
        "87.34",
        "Lung nodule",
        "Cardiomegaly",
        "Müller^Jürgen",
        "DEMONSTRATION",
        "Absent",
    ):
        assert expected in printed


def test_seventy_findings_stay_in_order_valid_and_readable(
    parity: Path, context: ReportContext, iod_errors: Callable[[bytes], list[str]], tmp_path: Path
) -> None:
    labels = json.loads((parity / "features" / "labels.json").read_text())
    names = [*labels["ctclip_prompts_55"], *labels["supervised_labels_15"]]
    headers = ct_headers(60)
    result = result_of_many(headers, names)
    content = built(result, headers, context).to_bytes()
    assert iod_errors(content) == []
    report = pydicom.dcmread(BytesIO(content))
    _, *found = groups(report)[:71]
    assert {children(group, TRACKING)[0].TextValue for group in found} == set(names)
    presence = [coded(children(group, PRESENCE)[0].ConceptCodeSequence) for group in found]
    present = sum(finding.present for finding in result.findings)
    assert 5 < present < 20
    assert presence == [PRESENT] * present + [ABSENT] * (70 - present)
    severity = {finding.name: finding.severity for finding in result.findings}
    ranks = [severity[children(group, TRACKING)[0].TextValue] for group in found[:present]]
    assert ranks[:-1] == sorted(ranks[:-1], reverse=True)
    assert (
        children(found[present - 1], TRACKING)[0].TextValue == "Pathological finding"
    )  # an umbrella is last
    path = tmp_path / "report.dcm"
    path.write_bytes(content)
    done = subprocess.run(["dsrdump", "+Pl", "+U8", path], capture_output=True, check=True, timeout=60)
    assert all(name in done.stdout.decode() for name in names)


def test_highdicom_reads_the_groups(
    result: StudyResult, headers: list[Dataset], context: ReportContext
) -> None:
    report = hd.sr.srread(BytesIO(built(result, headers, context).to_bytes()))
    read = report.content.get_image_measurement_groups()
    assert [group.tracking_identifier for group in read][:2] == ["Study", "Lung nodule"]
    nodule = read[1]
    assert nodule.get_measurements()[0].value == pytest.approx(87.34)
    assert nodule.get_qualitative_evaluations()[0].value.value == PRESENT[0]
    assert (
        nodule.source_images[0].referenced_sop_instance_uid == result.findings[1].best_slice.sop_instance_uid
    )


def test_a_long_series_is_reported_quickly_and_small(context: ReportContext) -> None:
    headers = ct_headers(300)
    assert len(built(study_result(headers), headers, context).to_bytes()) < 200_000


@pytest.mark.parametrize("series", ["nlst-toshiba", "lung-dx-a0001-philips/kernel-a"])
def test_real_series(
    series: str, ct_data: Path, context: ReportContext, iod_errors: Callable[[bytes], list[str]]
) -> None:
    headers = read_headers(ct_data / "ct" / series)
    result = study_result(headers)
    for item in build_objects(result, headers, key_slices(result), context):
        assert iod_errors(item.to_bytes()) == []
        assert item.dataset.PatientID == headers[0].PatientID
        assert str(item.dataset.PatientName) == str(headers[0].PatientName)


def test_frames_of_an_enhanced_ct(
    ct_data: Path, context: ReportContext, iod_errors: Callable[[bytes], list[str]]
) -> None:
    path = ct_data / "fixtures" / "enhanced-ct" / "eCT_Supplemental.dcm"
    header = pydicom.dcmread(path, stop_before_pixels=True)
    result = study_result([header], frame_number=2)
    report, image, *_ = build_objects(result, [header], key_slices(result), context)
    (number,) = children(group_of(written(report), "Lung nodule"), PROBABILITY)
    reference = children(children(number, SOURCE)[0], SOURCE)[0].ReferencedSOPSequence[0]
    assert reference.ReferencedSOPClassUID == "1.2.840.10008.5.1.4.1.1.2.1"
    assert reference.ReferencedFrameNumber == 2
    assert image.dataset.SourceImageSequence[0].ReferencedFrameNumber == 2
    for item in (report, image):
        assert iod_errors(item.to_bytes()) == []


def test_a_rerun_names_the_report_it_replaces(
    report: Dataset, result: StudyResult, headers: list[Dataset], context: ReportContext
) -> None:
    assert "PredecessorDocumentsSequence" not in report
    earlier = PredecessorDocument(
        report.StudyInstanceUID, report.SeriesInstanceUID, report.SOPInstanceUID, report.SOPClassUID
    )
    later = built(replace(result, key="later"), headers, replace(context, predecessor=earlier)).dataset
    (study,) = later.PredecessorDocumentsSequence
    (series,) = study.ReferencedSeriesSequence
    (document,) = series.ReferencedSOPSequence
    assert (study.StudyInstanceUID, series.SeriesInstanceUID) == (
        report.StudyInstanceUID,
        report.SeriesInstanceUID,
    )
    assert document.ReferencedSOPInstanceUID == report.SOPInstanceUID != later.SOPInstanceUID
