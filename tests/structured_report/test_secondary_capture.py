"""Attributes of every secondary capture: key image, summary page, page of a refused study."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from structured_report import RefusedStudy, ReportContext, build_objects, refusal_objects
from structured_report.secondary_capture import Capture, secondary_capture
from tests.structured_report.attention import basis
from tests.structured_report.samples import key_slices, study_result


def captures(headers: list[Dataset], context: ReportContext) -> list[Dataset]:
    """Two key images, the summary page, the page of a refused study."""
    result = study_result(headers)
    why = ("no_lungs", "Nothing is built like a lung.", "Send the chest.")
    refused = RefusedStudy("5e" * 32, result.study_uid, *why, result.analysed_at, "0.1.0")
    made = [
        *build_objects(result, headers, key_slices(result), context, kinds=("sc",)),
        *refusal_objects(refused, headers, context, kinds=("sc",)),
    ]
    return [pydicom.dcmread(BytesIO(item.to_bytes())) for item in made]


def test_what_all_of_them_say(headers: list[Dataset], context: ReportContext) -> None:
    made = captures(headers, context)
    assert len(made) == 4
    for item in made:
        assert (item.Modality, item.ConversionType, item.BurnedInAnnotation) == ("OT", "WSD", "NO")
        assert (item.BodyPartExamined, item.SpecificCharacterSet) == ("CHEST", "ISO_IR 192")
        assert item.DateOfSecondaryCapture == item.ContentDate
        assert item.DerivationDescription
        assert {source.ReferencedSOPInstanceUID for source in item.SourceImageSequence} <= {
            header.SOPInstanceUID for header in headers
        }
        for source in item.SourceImageSequence:
            (purpose,) = source.PurposeOfReferenceCodeSequence
            assert (purpose.CodeValue, purpose.CodingSchemeDesignator) == ("121322", "DCM")
    assert [len(item.SourceImageSequence) for item in made] == [1, 1, 2, 1]


def test_a_slice_has_spacing_and_orientation_and_a_page_has_neither(
    headers: list[Dataset], context: ReportContext
) -> None:
    made = captures(headers, context)
    assert ["PixelSpacing" in item for item in made] == [True, True, False, False]
    assert [list(item.PatientOrientation or []) for item in made] == [["L", "P"], ["L", "P"], [], []]


def test_what_was_lossy_once_stays_so_on_every_picture(
    headers: list[Dataset], context: ReportContext
) -> None:
    assert [item.LossyImageCompression for item in captures(headers, context)] == ["00"] * 4
    for header in headers:
        header.LossyImageCompression, header.LossyImageCompressionRatio = "01", "8.5"
        header.LossyImageCompressionMethod = "ISO_10918_1"
    made = captures(headers, context)
    assert [item.LossyImageCompression for item in made] == ["01"] * 4
    assert [float(item.LossyImageCompressionRatio) for item in made] == [8.5] * 4


@pytest.mark.parametrize(("frames", "named"), [((3,), 3), ((3, 7, 3), [3, 7]), ((None,), None)])
def test_frames_of_a_multi_frame_source_are_named(
    frames: tuple[int | None, ...],
    named: int | list[int] | None,
    headers: list[Dataset],
    context: ReportContext,
) -> None:
    result = study_result(headers)
    uid = str(headers[0].SOPInstanceUID)
    capture = Capture(
        pixels=np.zeros((8, 8, 3), np.uint8),
        key=result.key,
        study_uid=result.study_uid,
        number=1,
        series="AI",
        derivation="A page",
        images=tuple((uid, frame) for frame in frames),
    )
    made = secondary_capture(basis(result, headers, context), capture)
    (source,) = pydicom.dcmread(BytesIO(made.to_bytes())).SourceImageSequence
    found = source.get("ReferencedFrameNumber")
    assert (list(found) if isinstance(named, list) else found) == named
