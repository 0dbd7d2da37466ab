"""The structured report: rows of its templates, order of its groups, and what other readers make of it."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from inference.study_result import Calibration, Finding, Measurement, StudyResult
from structured_report import PredecessorDocument, ReportContext, build_objects
from structured_report.codes import quantity_code
from tests.structured_report.content import (
    ABSENT,
    COMMENT,
    FINDING,
    LIBRARY,
    LIBRARY_GROUP,
    MEASUREMENTS,
    NAME,
    PARAMETER,
    PRESENCE,
    PRESENT,
    PROBABILITY,
    REGION,
    SIDE,
    SITE,
    SOURCE,
    SOURCE_OF_MEASUREMENT,
    TRACKING,
    TRACKING_UID,
    WORDS,
    Code,
    built,
    children,
    coded,
    everything,
    group_of,
    groups,
    name_of,
    written,
)
from tests.structured_report.samples import ct_headers, key_slices, result_of_many, study_result

METHOD, DERIVATION = ("370129005", "SCT"), ("121401", "DCM")
UNDETERMINED, INDETERMINATE = ("373068000", "SCT"), ("82334004", "SCT")
VERDICT = ("verdict", "99DICOMNODE")
LIMIT = "neither the location nor the outline"


@pytest.fixture
def report(headers: list[Dataset], result: StudyResult, context: ReportContext) -> Dataset:
    return written(built(result, headers, context))


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
    findings = ["Lung nodule", "Pleural effusion", "Emphysema", "Cardiomegaly"]
    assert names == ["Study", *findings, "Lung volumes", "Lung density"]


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
    for name, where, side in (
        ("Pleural effusion", ("3120008", "SCT"), ("7771000", "SCT")),
        ("Lung nodule", ("39607008", "SCT"), ("24028007", "SCT")),
    ):
        (site,) = children(group_of(report, name), SITE)
        assert coded(site.ConceptCodeSequence) == where
        assert coded(children(site, SIDE)[0].ConceptCodeSequence) == side


def test_absent_findings_are_short(report: Dataset) -> None:
    for name in ("Emphysema", "Cardiomegaly"):
        group = group_of(report, name)
        assert children(group, SITE) == children(group, COMMENT) == []
    sentences = [item.TextValue for item in children(children(report, WORDS)[0], COMMENT)]
    assert (
        "Points of groups without a region anchor the display of a slice; they locate nothing." in sentences
    )


def test_a_located_finding_is_a_planar_region_on_its_slice_and_called_no_outline(
    report: Dataset, result: StudyResult
) -> None:
    finding = result.findings[1]
    assert finding.region is not None
    group = group_of(report, finding.name)
    assert group.ContentTemplateSequence[0].TemplateIdentifier == "1410"
    (region,) = children(group, REGION, "SCOORD")
    np.testing.assert_allclose(region.GraphicData, np.ravel(finding.region.polygon), atol=1e-3)
    reference = children(region, SOURCE)[0].ReferencedSOPSequence[0]
    assert reference.ReferencedSOPInstanceUID == finding.region.slice.sop_instance_uid
    (number,) = children(group, PROBABILITY)
    assert "ContentSequence" not in number  # the region is the group's, no point is made up besides
    said = [item.TextValue for item in children(group, COMMENT)]
    assert said == [
        "The line encloses where the algorithm looked within the body (saliency of 0.025 and more, 0.0832 at"
        " its peak); it is no outline of a lesion and nothing to be measured.",
        "Best slice: number 11 from the feet, image number 14.",
        "Scores of the members, from 0 to 1: CT-CLIP 0.800, supervised head 0.873.",
    ]


def test_a_present_finding_without_a_region_says_that_it_is_not_located(report: Dataset) -> None:
    said = [item.TextValue for item in children(group_of(report, "Pleural effusion"), COMMENT)]
    assert "did not locate this finding" in said[0]
    assert LIMIT in said[1]
    assert said[2].startswith("Best slice: number 5 from the feet")


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


def test_every_number_of_another_group_has_a_point_on_its_slice_which_is_called_an_anchor(
    report: Dataset, result: StudyResult
) -> None:
    slices = {finding.name: finding.best_slice or result.key_slices[0] for finding in result.findings}
    slices |= dict.fromkeys(("Study", "Lung volumes", "Lung density"), result.key_slices[0])
    unlocated = [group for group in groups(report) if children(group, REGION) == []]
    assert len(unlocated) == 6
    for group in unlocated:
        expected = slices[children(group, TRACKING)[0].TextValue]
        numbers = [item for item in group.ContentSequence if item.ValueType == "NUM"]
        assert numbers
        for number in numbers:
            (point,) = children(number, SOURCE_OF_MEASUREMENT, "SCOORD")
            assert (point.RelationshipType, point.GraphicType) == ("INFERRED FROM", "POINT")
            assert list(point.GraphicData) == [expected.column + 0.5, expected.row + 0.5]
            (image,) = children(point, SOURCE, "IMAGE")
            assert image.RelationshipType == "SELECTED FROM"
            assert image.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == expected.sop_instance_uid
        said = [item.TextValue for item in children(group, COMMENT)]
        absent = [coded(item.ConceptCodeSequence) for item in children(group, PRESENCE)] == [ABSENT]
        assert any(LIMIT in sentence for sentence in said) or absent


def test_quantities_carry_unit_method_and_their_own_algorithm(report: Dataset) -> None:
    volumes, densities = group_of(report, "Lung volumes"), group_of(report, "Lung density")
    [volume], [density] = map(numbers_of, (volumes, densities))
    assert coded(volume.ConceptNameCodeSequence) == ("lung-volume", "99DICOMNODE")
    assert float(volume.MeasuredValueSequence[0].NumericValue) == 4210.5
    assert coded(volume.MeasuredValueSequence[0].MeasurementUnitsCodeSequence) == ("mL", "UCUM")
    assert coded(children(volume, METHOD)[0].ConceptCodeSequence) == ("ct-volume", "99DICOMNODE")
    assert float(density.MeasuredValueSequence[0].NumericValue) == -843.2
    unit = density.MeasuredValueSequence[0].MeasurementUnitsCodeSequence
    assert (coded(unit), unit[0].CodeMeaning) == (("[hnsf'U]", "UCUM"), "Hounsfield unit")
    assert coded(children(density, DERIVATION)[0].ConceptCodeSequence) == ("373098007", "SCT")  # mean
    assert children(volumes, NAME)[0].TextValue == "densitometry"
    sentences = [item.TextValue for item in children(report, WORDS)[0].ContentSequence]
    assert "Lung volume: Volume of the lung, vessels included." in sentences
    assert "Mean lung density: Mean of all voxels of both lungs (Source)." in sentences


def test_a_method_that_several_quantities_share_is_told_once(
    result: StudyResult, headers: list[Dataset], context: ReportContext
) -> None:
    names, method = ("Lung volume", "Lung volume, left", "Lung volume, right"), "Volume of the lungs' voxels."
    measured = (
        *(Measurement(name, 2000.0, "mL", method) for name in names),
        Measurement("Perc15", -950.0, "[hnsf'U]", "15th percentile of the lungs' voxels."),
    )
    report = written(built(replace(result, measurements=measured), headers, context))
    comments = [item.TextValue for item in children(children(report, WORDS)[0], COMMENT)]
    assert [text for text in comments if "voxels" in text] == [
        f"Lung volume; Lung volume, left; Lung volume, right: {method}",
        "Perc15: 15th percentile of the lungs' voxels.",
    ]


def numbers_of(group: Dataset) -> list[Dataset]:
    return [item for item in group.ContentSequence if item.ValueType == "NUM"]


def test_the_quantities_of_densitometry_stand_in_groups_that_a_viewer_shows_whole(
    result: StudyResult, headers: list[Dataset], context: ReportContext
) -> None:
    """OHIF 3.13.2 shows five lines of a group without a region, and comments before numbers."""
    names = {
        "Lung volumes": ["Lung volume", "Lung volume, left", "Lung volume, right"],
        "Lung density": ["Mean lung density", "Perc15"],
        "Low and high attenuation": ["LAA-950", "LAA-910", "HAA"],
        "Quantities": ["One", "Two", "Three", "Four"],
        "Quantities 2": ["Five"],
    }
    measured = [Measurement(name, 1.5, "%", "As told.") for group in names.values() for name in group]
    report = written(built(replace(result, measurements=tuple(measured)), headers, context))
    codes = {name: quantity_code(name).code.value for group in names.values() for name in group}
    for name, quantities in names.items():
        numbers = numbers_of(group_of(report, name))
        told = [number.ConceptNameCodeSequence[0].CodeValue for number in numbers]
        assert told == [codes[quantity] for quantity in quantities]
    for group in groups(report):
        if not children(group, REGION):
            assert len(children(group, COMMENT)) + len(numbers_of(group)) <= 5


def test_a_quantity_that_nobody_coded_gets_a_code_of_its_own(
    result: StudyResult, headers: list[Dataset], context: ReportContext
) -> None:
    other = replace(result, measurements=(Measurement("Agatston score", 12.0, "1", "As told."),))
    (number,) = [
        item
        for item in group_of(written(built(other, headers, context)), "Quantities").ContentSequence
        if item.ValueType == "NUM"
    ]
    assert coded(number.ConceptNameCodeSequence)[1] == "99DICOMNODE"
    assert number.ConceptNameCodeSequence[0].CodeMeaning == "Agatston score"
    assert children(number, METHOD) == []


def test_tracking_uids_are_unique_and_follow_from_the_key(
    report: Dataset, result: StudyResult, headers: list[Dataset], context: ReportContext
) -> None:
    uids = [children(group, TRACKING_UID)[0].UID for group in groups(report)]
    assert len(set(uids)) == len(uids)
    again = written(built(replace(result, key="aa"), headers, context))
    assert not set(uids) & {children(group, TRACKING_UID)[0].UID for group in groups(again)}


def test_the_answer_in_words_comes_before_images_and_numbers(report: Dataset) -> None:
    """Readers that show a report from top to bottom show its notice and its conclusion first."""
    below = [name_of(item) for item in report.ContentSequence if item.ValueType == "CONTAINER"]
    assert below == [WORDS, LIBRARY, MEASUREMENTS]


def test_sentences_hold_notice_conclusion_weights_and_warnings(report: Dataset) -> None:
    sentences = [item.TextValue for item in children(report, WORDS)[0].ContentSequence]
    assert sentences[0].startswith("DEMONSTRATION - NOT FOR DIAGNOSIS")
    assert "Probability of pathology 96.2 %" in sentences[1]
    assert "Lung nodule (87.3 %), Pleural effusion (91.0 %)" in sentences[1]
    assert "Findings below theirs: 2." in sentences[1]
    assert "Most dangerous pathology: Lung nodule." in sentences[1]
    assert "supervised head: Lung nodule = 0.873 (+2.50)" in sentences[2]
    assert sentences[3] == "One missing slice was interpolated."
    assert sentences[4].startswith("Lung volume: ")
    assert sentences[5].startswith("Mean lung density: ")
    assert sentences[6].startswith("Points of groups without a region")
    assert sentences[7].startswith("Computed by dicom-node 0.1.0 with bundle demo 1.0.0")
    assert len(sentences) == 8


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


def test_every_container_stands_on_its_own_so_that_a_renderer_names_what_it_shows(
    report: Dataset, result: StudyResult, headers: list[Dataset], context: ReportContext, tmp_path: Path
) -> None:
    containers = [item for item in everything(report) if item.ValueType == "CONTAINER"]
    assert len(containers) > 10
    assert {item.ContinuityOfContent for item in containers} == {"SEPARATE"}
    path = tmp_path / "report.dcm"
    path.write_bytes(built(result, headers, context).to_bytes())
    done = subprocess.run(["dsr2html", "+U8", path], capture_output=True, check=True, timeout=60)
    shown = " ".join(re.sub("<[^>]+>", " ", done.stdout.decode()).split())
    for expected in (
        "Probability: 96.25 %",
        "Presence: Present",
        "Most dangerous pathology: Nodule of lung",
        "Lung volume: 4210.5 mL",
        "Conclusion: Probability of pathology 96.2 %",
    ):
        assert expected in shown


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
    assert [group.tracking_identifier for group in read][:2] == ["Study", "Pleural effusion"]
    effusion = read[1]
    assert effusion.get_measurements()[0].value == pytest.approx(91.0)
    assert effusion.get_qualitative_evaluations()[0].value.value == PRESENT[0]
    best = result.findings[3].best_slice
    assert best is not None
    assert effusion.source_images[0].referenced_sop_instance_uid == best.sop_instance_uid
    (nodule,) = report.content.get_planar_roi_measurement_groups()
    assert nodule.tracking_identifier == "Lung nodule"
    assert nodule.get_measurements()[0].value == pytest.approx(87.34)
    assert result.findings[1].region is not None
    np.testing.assert_allclose(nodule.roi.value, result.findings[1].region.polygon, atol=1e-3)


def test_a_long_series_is_reported_quickly_and_small(context: ReportContext) -> None:
    headers = ct_headers(300)
    assert len(built(study_result(headers), headers, context).to_bytes()) < 200_000


def test_frames_of_an_enhanced_ct(
    ct_data: Path, context: ReportContext, iod_errors: Callable[[bytes], list[str]]
) -> None:
    path = ct_data / "fixtures" / "enhanced-ct" / "eCT_Supplemental.dcm"
    header = pydicom.dcmread(path, stop_before_pixels=True)
    result = study_result([header], frame_number=2)
    report, image, *_ = build_objects(result, [header], key_slices(result), context)
    made = written(report)
    (region,) = children(group_of(made, "Lung nodule"), REGION)
    said = [item.TextValue for item in children(group_of(made, "Lung nodule"), COMMENT)]
    assert said[1] == "Best slice: number 1 from the feet, frame 2."
    (number,) = children(group_of(made, "Pleural effusion"), PROBABILITY)
    for coordinates in (region, children(number, SOURCE_OF_MEASUREMENT)[0]):
        reference = children(coordinates, SOURCE)[0].ReferencedSOPSequence[0]
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
