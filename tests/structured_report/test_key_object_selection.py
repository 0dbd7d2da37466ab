"""The key object selection: the original slices, and why they were chosen."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import pydicom
from pydicom.dataset import Dataset

from inference.study_result import StudyResult
from structured_report import ReportContext
from structured_report.key_object_selection import key_object_selection
from tests.structured_report.attention import basis
from tests.structured_report.samples import ct_headers, study_result


def made(result: StudyResult, headers: list[Dataset], context: ReportContext) -> Dataset:
    return pydicom.dcmread(BytesIO(key_object_selection(basis(result, headers, context)).to_bytes()))


def test_it_points_at_the_original_slices_and_at_nothing_else(
    result: StudyResult, headers: list[Dataset], context: ReportContext
) -> None:
    found = made(result, headers, context)
    wanted = [reference.sop_instance_uid for reference in result.key_slices]
    images = [item for item in found.ContentSequence if item.ValueType == "IMAGE"]
    assert [item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for item in images] == wanted
    evidence = found.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
    listed = {item.ReferencedSOPInstanceUID for item in evidence.ReferencedSOPSequence}
    assert listed == set(wanted)
    assert evidence.SeriesInstanceUID == result.series_uid
    assert found.ConceptNameCodeSequence[0].CodeValue == "113000"


def test_its_description_names_the_present_findings(
    result: StudyResult, normal_result: StudyResult, headers: list[Dataset], context: ReportContext
) -> None:
    def description(of: StudyResult) -> str:
        items = made(of, headers, context).ContentSequence
        return next(
            str(item.TextValue) for item in items if item.ValueType == "TEXT" and "AI" in item.TextValue
        )

    notice = "DEMONSTRATION - NOT FOR DIAGNOSIS. "
    assert description(result) == f"{notice}AI key slices: Lung nodule 87.3 %, Pleural effusion 91.0 %."
    assert description(normal_result) == f"{notice}AI key slices: no finding above its operating point."


def test_frames_of_a_multi_frame_instance_are_named(context: ReportContext) -> None:
    headers = ct_headers(1)
    headers[0].SOPClassUID, headers[0].NumberOfFrames = "1.2.840.10008.5.1.4.1.1.2.1", 24
    found = made(study_result(headers, frame_number=3), headers, context)
    images = [item for item in found.ContentSequence if item.ValueType == "IMAGE"]
    assert [item.ReferencedSOPSequence[0].ReferencedFrameNumber for item in images] == [3]


def test_validator_finds_no_error(
    result: StudyResult,
    headers: list[Dataset],
    context: ReportContext,
    iod_errors: Callable[[bytes], list[str]],
) -> None:
    assert iod_errors(key_object_selection(basis(result, headers, context)).to_bytes()) == []
