"""Key images as DICOM objects: the right slice, sides, words and references."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from inference.study_result import ProbabilityBand, StudyResult
from structured_report import KeySliceImages, ReportContext, SourceError, build_objects
from structured_report.key_images import KeySlice, slice_picture
from structured_report.language import Words
from structured_report.slice_drawing import SlicePicture
from tests.structured_report.samples import ct_headers, key_slices, located, study_result

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def images(
    result: StudyResult, headers: list[Dataset], context: ReportContext, slices: KeySliceImages | None = None
) -> list[Dataset]:
    """The key images, without the summary after them."""
    objects = build_objects(result, headers, slices or key_slices(result), context)
    count = len({reference.index for reference in result.key_slices})
    made = [pydicom.dcmread(BytesIO(item.to_bytes())) for item in objects if item.kind == "sc"]
    return made[:count]


def picture(result: StudyResult, headers: list[Dataset], number: int) -> SlicePicture:
    reference = result.key_slices[number]
    header = next(item for item in headers if item.SOPInstanceUID == reference.sop_instance_uid)
    key_slice = KeySlice(reference, number + 1, len(result.key_slices))
    return slice_picture(result, header, key_slices(result), key_slice)


def test_one_instance_for_each_key_slice_in_one_series_of_the_source_study(
    result: StudyResult, headers: list[Dataset], context: ReportContext
) -> None:
    made = images(result, headers, context)
    assert [item.InstanceNumber for item in made] == [1, 2]
    assert {item.SOPClassUID for item in made} == {SECONDARY_CAPTURE}
    assert len({item.SeriesInstanceUID for item in made}) == 1
    assert {item.StudyInstanceUID for item in made} == {headers[0].StudyInstanceUID}
    assert {item.SeriesNumber for item in made} == {9001}
    assert {item.SeriesDescription for item in made} == {"AI key images - DEMONSTRATION - NOT FOR DIAGNOSIS"}
    for item, reference in zip(made, result.key_slices, strict=True):
        (source,) = item.SourceImageSequence
        assert source.ReferencedSOPInstanceUID == reference.sop_instance_uid
        assert (item.BodyPartExamined, item.BurnedInAnnotation) == ("CHEST", "NO")
        assert (item.PhotometricInterpretation, item.LossyImageCompression) == ("RGB", "00")
        assert list(item.PixelSpacing) == [0.7, 0.7]


def test_the_slice_is_in_the_pixels(
    result: StudyResult, headers: list[Dataset], context: ReportContext
) -> None:
    for item, reference in zip(images(result, headers, context), result.key_slices, strict=True):
        pixels = item.pixel_array
        bright = np.argwhere(np.all(pixels == 255, axis=2))
        assert len(bright) == 1, "only the marked voxel is pure white"
        top = bright[0][0] - reference.row
        assert bright[0][1] == reference.column
        assert 60 < top < 130
        assert pixels.shape[0] > top + 512


def test_validator_finds_no_error(
    result: StudyResult,
    normal_result: StudyResult,
    headers: list[Dataset],
    context: ReportContext,
    iod_errors: Callable[[bytes], list[str]],
) -> None:
    for one in (result, normal_result):
        for item in build_objects(one, headers, key_slices(one), context)[1:]:
            assert iod_errors(item.to_bytes()) == []


def test_pixel_spacing_only_on_an_unscaled_slice(context: ReportContext) -> None:
    headers = ct_headers(rows=256, columns=256)
    result = study_result(headers)
    reference = replace(result.key_slices[0], row=100.0, column=75.0)
    result = replace(result, key_slices=(reference,))
    (item,) = images(result, headers, context, key_slices(result, rows=256, columns=256))
    assert "PixelSpacing" not in item
    assert item.Columns == 512


@pytest.mark.parametrize(
    ("orientation", "edges", "patient_orientation"),
    [
        ([1, 0, 0, 0, 1, 0], "RLAP", ["L", "P"]),
        ([-1, 0, 0, 0, 1, 0], "LRAP", ["R", "P"]),  # rows run from the patient's left to the right
        ([1, 0, 0, 0, -1, 0], "RLPA", ["L", "A"]),  # prone, or flipped
        ([-1, 0, 0, 0, -1, 0], "LRPA", ["R", "A"]),
        ([0.98, 0.17, 0, -0.17, 0.98, 0], "RLAP", ["L", "P"]),
    ],
)
def test_sides_follow_the_patient_and_not_the_columns(
    *,
    orientation: list[float],
    edges: str,
    patient_orientation: list[str],
    headers: list[Dataset],
    result: StudyResult,
    context: ReportContext,
) -> None:
    for header in headers:
        header.ImageOrientationPatient = orientation
    drawn = picture(result, headers, 0)
    assert "".join(drawn.edges[edge] for edge in ("left", "right", "top", "bottom")) == edges
    assert list(images(result, headers, context)[0].PatientOrientation) == patient_orientation


def test_words_windows_and_outlines(result: StudyResult, headers: list[Dataset]) -> None:
    result = located(result)
    nodule, effusion = picture(result, headers, 0), picture(result, headers, 1)
    assert [(item.text, item.value) for item in nodule.headlines] == [("Lung nodule, right", "87.3 %")]
    assert [(item.text, item.value) for item in effusion.headlines] == [("Pleural effusion, left", "91.0 %")]
    assert (nodule.window, effusion.window) == ("lung", "mediastinum")
    regions = [finding.region for finding in result.findings if finding.region is not None]
    assert [*nodule.outlines, *effusion.outlines] == [region.polygon for region in regions]
    assert nodule.notice == "DEMONSTRATION - NOT FOR DIAGNOSIS"
    assert nodule.subtitle == ("AI finding, present at operating point 50.0 %", "key image 1 of 2")
    lines = [part for line in nodule.footer for part in line]
    assert "Image 14, slice 11 from the feet, z −250.0 mm" in lines
    assert "Bundle demo 1.0.0, dicom-node 0.1.0" in lines
    assert "Amber: where the algorithm looked; no outline of a lesion" in lines


@pytest.mark.parametrize("number", [None, "12.5"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_missing_or_odd_instance_number_is_not_drawn(
    number: str | None, result: StudyResult, headers: list[Dataset]
) -> None:
    for header in headers:
        element = pydicom.DataElement("InstanceNumber", "IS", None)
        if number is not None:
            element = pydicom.DataElement("InstanceNumber", "IS", number, pydicom.config.IGNORE)
        header.add(element)
    assert picture(result, headers, 0).footer[0][0] == "Slice 11 from the feet, z −250.0 mm"


def test_every_finding_of_a_slice_is_named(result: StudyResult, headers: list[Dataset]) -> None:
    shared = result.key_slices[0]
    names = (
        *("Lung nodule", "Consolidation", "Atelectasis"),
        *("Emphysema", "Bronchiectasis", "Peribronchial thickening", "Interlobular septal thickening"),
    )
    findings = tuple(
        replace(result.findings[1], name=name, severity=20 - index, laterality=None, best_slice=shared)
        for index, name in enumerate(names)
    )
    drawn = picture(located(replace(result, findings=findings)), headers, 0)
    assert [item.text for item in drawn.headlines] == ["1  Lung nodule", "2  Consolidation", "3  Atelectasis"]
    lines = [left for left, _ in drawn.footer[2:-1]]
    assert all(line[-1].isalpha() or line[-1] in ",%" for line in lines), "a number and its sign are parted"
    assert " ".join(lines).replace("\N{NO-BREAK SPACE}", " ") == (
        "Also on this slice: Emphysema 87.3 %, Bronchiectasis 87.3 %, Peribronchial thickening 87.3 %,"
        " Interlobular septal thickening 87.3 %"
    )
    assert all(len(line) <= 60 for line in lines), "a longer line would be shrunk until nobody can read it"


def test_a_side_is_named_only_of_what_has_two(result: StudyResult, headers: list[Dataset]) -> None:
    heart = replace(result.findings[1], name="Cardiomegaly", laterality="left")
    drawn = picture(replace(result, findings=(heart,)), headers, 0)
    assert [item.text for item in drawn.headlines] == ["Cardiomegaly"]


def test_a_probability_is_not_rounded_over_its_operating_point(
    normal_result: StudyResult, headers: list[Dataset]
) -> None:
    drawn = picture(replace(normal_result, probability=0.49996), headers, 0)
    assert drawn.headlines[0].value == "49.996 %"
    assert "absent at operating point 50.0 %" in drawn.subtitle[0]


@pytest.mark.parametrize("decision", [0, 1])
def test_an_indeterminate_study_says_so_and_stands_out(
    decision: int, normal_result: StudyResult, headers: list[Dataset]
) -> None:
    open_result = replace(
        normal_result,
        probability=0.52 if decision else 0.48,
        decision=1 if decision else 0,
        verdict="indeterminate",
        indeterminate=ProbabilityBand(0.45, 0.55),
    )
    drawn = picture(open_result, headers, 0)
    assert drawn.subtitle[0] == "Whole study: indeterminate, operating point 50.0 %"
    assert drawn.headlines[0].emphasised


def test_a_normal_study_shows_its_probability_and_no_outline(
    normal_result: StudyResult, headers: list[Dataset]
) -> None:
    drawn = picture(normal_result, headers, 0)  # an absent finding's saliency peaks there, and is not marked
    assert [(item.text, item.value, item.emphasised) for item in drawn.headlines] == [
        ("Pathology of the chest", "4.0 %", False)
    ]
    assert "absent at operating point 50.0 %" in drawn.subtitle[0]
    assert drawn.outlines == ()


def test_nothing_of_the_patient_is_drawn(
    result: StudyResult, headers: list[Dataset], context: ReportContext
) -> None:
    before = [item.pixel_array for item in images(result, headers, context)]
    for header in headers:
        header.PatientName, header.PatientID, header.AccessionNumber = "Someone^Else", "ID-99", "A-1"
        header.PatientBirthDate = header.StudyDate = "19990101"
    after = [item.pixel_array for item in images(result, headers, context)]
    assert all(np.array_equal(one, other) for one, other in zip(before, after, strict=True))


def test_a_slice_that_two_findings_share_is_shown_once(
    result: StudyResult, headers: list[Dataset], context: ReportContext
) -> None:
    shared = result.key_slices[0]
    findings = tuple(replace(item, best_slice=shared) for item in result.findings)
    one = replace(result, findings=findings, key_slices=(shared, shared))
    (item,) = images(one, headers, context)
    assert item.InstanceNumber == 1
    assert [headline.text for headline in picture(located(one), headers, 0).headlines] == [
        "1  Lung nodule, right",
        "2  Pleural effusion, left",
    ]


def test_missing_pixels_are_an_error(
    result: StudyResult, headers: list[Dataset], context: ReportContext
) -> None:
    with pytest.raises(SourceError, match="key slice 10"):
        build_objects(result, headers, KeySliceImages({}, (0.7, 0.7)), context)


def test_the_colour_grows_from_the_threshold_to_the_peak(result: StudyResult, headers: list[Dataset]) -> None:
    result = located(result)
    reference = result.key_slices[0]
    saliency = np.zeros((512, 512), np.float32)
    saliency[10, 10:13] = 0.1, 0.3, 0.5  # threshold, half way, peak
    slices = replace(key_slices(result), saliency={("Lung nodule", reference.index): saliency})
    header = next(item for item in headers if item.SOPInstanceUID == reference.sop_instance_uid)
    glow = slice_picture(result, header, slices, KeySlice(reference, 1, 2)).glow
    assert glow is not None
    assert glow[10, 10:13] == pytest.approx([0.0, 0.5, 1.0])
    assert glow.sum() == pytest.approx(1.5)


def test_located_findings_come_first_and_alone_have_numbers(
    result: StudyResult, headers: list[Dataset]
) -> None:
    shared = result.key_slices[0]
    findings = tuple(replace(item, best_slice=shared, present=True) for item in result.findings[:3])
    result = replace(result, findings=findings)
    two = located(replace(result, findings=findings[:2]))
    drawn = picture(replace(two, findings=(findings[2], *two.findings)), headers, 0)
    texts = [item.text for item in drawn.headlines]
    assert texts[0].startswith("1  ")
    assert texts[1].startswith("2  ")
    assert texts[2] == "Emphysema"
    assert len(drawn.outlines) == 2


def test_words_are_russian_where_the_report_is(result: StudyResult, headers: list[Dataset]) -> None:
    result = located(result)
    context = ReportContext("1.2.3", language="ru")
    (first, _) = images(result, headers, context)
    assert first.SeriesDescription == "AI снимки - ДЕМО: НЕ ДЛЯ ДИАГНОСТИКИ"
    reference = result.key_slices[0]
    header = next(item for item in headers if item.SOPInstanceUID == reference.sop_instance_uid)
    drawn = slice_picture(result, header, key_slices(result), KeySlice(reference, 1, 2), Words("ru"))
    words = " ".join([drawn.notice, *drawn.subtitle, *(text for line in drawn.footer for text in line)])
    latin = set(re.findall("[A-Za-z]{2,}", words))
    assert latin <= {"demo", "dicom", "node"}
    assert drawn.headlines[0].text == "Узел в лёгком, справа"
