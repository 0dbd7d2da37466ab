"""The segmentation of the algorithm's attention: the right pixels on the right images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from io import BytesIO

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from inference.study_result import StudyResult
from structured_report import ReportContext
from structured_report.identifiers import tracking_uid
from structured_report.segmentation import drawn_findings, segmentation
from tests.structured_report.attention import attention, basis
from tests.structured_report.samples import located


def made(result: StudyResult, headers: list[Dataset], context: ReportContext) -> highdicom.seg.Segmentation:
    (item,) = segmentation(basis(result, headers, context), attention(result))
    return highdicom.seg.segread(BytesIO(item.to_bytes()))


def test_pixels_lie_on_the_images_that_they_are_of(
    result: StudyResult, headers: list[Dataset], context: ReportContext
) -> None:
    found = made(result, headers, context)
    for number, item in enumerate(attention(result), start=1):
        ((uid, _),) = item.masks
        pixels = found.get_pixels_by_source_instance([uid], segment_numbers=[number], combine_segments=False)
        np.testing.assert_array_equal(pixels[0, :, :, 0].astype(bool), item.masks[uid, None])
    assert found.NumberOfFrames == 2


def test_segments_say_what_they_are(
    result: StudyResult, headers: list[Dataset], context: ReportContext
) -> None:
    found = made(result, headers, context)
    labels = [item.SegmentLabel for item in found.SegmentSequence]
    assert labels == ["AI attention: Lung nodule", "AI attention: Pleural effusion"]
    for item, name in zip(found.SegmentSequence, ("Lung nodule", "Pleural effusion"), strict=True):
        assert item.SegmentAlgorithmType == "AUTOMATIC"
        assert item.SegmentDescription == "Where the algorithm looked; no outline of a lesion"
        assert item.SegmentedPropertyTypeCodeSequence[0].CodeValue == "130404"
        assert item.TrackingUID == tracking_uid(result.key, name)
    assert found.SeriesDescription == "AI attention - DEMONSTRATION - NOT FOR DIAGNOSIS"
    assert (found.ContentLabel, found.SeriesNumber) == ("ATTENTION", 9002)
    assert found.FrameOfReferenceUID == headers[0].FrameOfReferenceUID


@pytest.mark.parametrize("missing", [(), ("PatientSex", "AccessionNumber", "StudyID", "StudyTime")])
def test_validator_finds_no_error(
    *,
    missing: tuple[str, ...],
    result: StudyResult,
    headers: list[Dataset],
    context: ReportContext,
    iod_errors: Callable[[bytes], list[str]],
) -> None:
    for header in headers:
        for keyword in missing:
            delattr(header, keyword)
    (item,) = segmentation(basis(result, headers, context), attention(result))
    assert iod_errors(item.to_bytes()) == []


def test_same_result_makes_the_same_bytes(
    result: StudyResult, headers: list[Dataset], context: ReportContext
) -> None:
    first, second = (
        segmentation(basis(result, headers, context), attention(result))[0].to_bytes() for _ in range(2)
    )
    assert first == second


def test_nothing_located_makes_no_object(
    normal_result: StudyResult, headers: list[Dataset], context: ReportContext
) -> None:
    assert segmentation(basis(normal_result, headers, context), attention(normal_result)) == []
    nowhere = [replace(item, masks={}) for item in attention(replace(normal_result))]
    assert segmentation(basis(normal_result, headers, context), nowhere) == []


def test_identity_is_that_of_the_source(
    result: StudyResult, headers: list[Dataset], context: ReportContext
) -> None:
    (item,) = segmentation(basis(result, headers, context), attention(result))
    read = pydicom.dcmread(BytesIO(item.to_bytes()))
    assert str(read.PatientName) == "Müller^Jürgen"
    assert read.SpecificCharacterSet == "ISO_IR 192"
    assert read.AccessionNumber == "A-4711"


def test_images_without_a_frame_of_reference_have_none(
    result: StudyResult, headers: list[Dataset], context: ReportContext
) -> None:
    del headers[3].FrameOfReferenceUID
    assert segmentation(basis(result, headers, context), attention(result)) == []


def test_images_that_do_not_say_how_thick_they_are_are_as_thick_as_far_apart(
    result: StudyResult, headers: list[Dataset], context: ReportContext
) -> None:
    for header in headers:
        del header.SliceThickness
    (item,) = segmentation(basis(result, headers, context), attention(result))
    (shared,) = item.dataset.SharedFunctionalGroupsSequence
    assert shared.PixelMeasuresSequence[0].SliceThickness == 5.0


def test_russian_labels_have_at_most_64_bytes_as_validators_count(
    result: StudyResult,
    headers: list[Dataset],
    context: ReportContext,
    iod_errors: Callable[[bytes], list[str]],
) -> None:
    long = "Coronary artery wall calcification"
    findings = tuple(replace(item, name=long) if item.present else item for item in result.findings)
    told = replace(result, findings=findings, most_dangerous=long)
    (item,) = segmentation(basis(told, headers, replace(context, language="ru")), attention(told))
    assert item.dataset.SegmentSequence[0].SegmentLabel.startswith("Внимание ИИ: Кальциноз")
    assert iod_errors(item.to_bytes()) == []


def test_a_large_series_has_room_for_the_most_dangerous_findings(
    result: StudyResult, headers: list[Dataset], context: ReportContext
) -> None:
    told = located(result)
    names = ("Lung nodule", "Pleural effusion")  # in reading order
    assert drawn_findings(told, 143, 512, 512) == names
    assert drawn_findings(told, 3000, 512, 512) == names[:1]
    assert drawn_findings(told, 100_000, 1024, 1024) == names[:1]
    some = [replace(item, masks=item.masks if item.finding in names[:1] else {}) for item in attention(told)]
    (item,) = segmentation(basis(told, headers, context), some)
    assert [segment.TrackingID for segment in item.dataset.SegmentSequence] == ["Lung nodule"]
    assert item.dataset.SeriesDescription == "AI attention 1/2 - DEMONSTRATION - NOT FOR DIAGNOSIS"
