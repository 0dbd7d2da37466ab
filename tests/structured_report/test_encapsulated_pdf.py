"""The PDF of the report, as another library reads it."""

from __future__ import annotations

import time
from collections.abc import Callable
from io import BytesIO

import pydicom
import pytest
from fontTools.ttLib import TTFont  # type: ignore[import-untyped]
from pydicom.dataset import Dataset
from pypdf import PdfReader

from inference.study_result import StudyResult
from structured_report import ReportContext, build_objects
from structured_report.pdf_document import _font_of_weight
from tests.structured_report.samples import key_slices


def made(result: StudyResult, headers: list[Dataset], context: ReportContext) -> bytes:
    (item,) = build_objects(result, headers, key_slices(result), context, kinds=("pdf",))
    assert item.kind == "pdf"
    return item.to_bytes()


def pages(content: bytes) -> list[str]:
    document = pydicom.dcmread(BytesIO(content)).EncapsulatedDocument
    return [page.extract_text() for page in PdfReader(BytesIO(document)).pages]


def test_it_says_what_the_report_says(
    result: StudyResult, headers: list[Dataset], context: ReportContext
) -> None:
    content = made(result, headers, context)
    text = " ".join(" ".join(pages(content)).split())
    assert "Probability of pathology 96.2 %" in text
    assert "Lung nodule, right 87.3 % 50.0 % 11" in text
    assert "Cardiomegaly 12.5 %" in text
    assert "One missing slice was interpolated." in text
    assert "Not verified by a physician." in text
    assert all("DEMONSTRATION - NOT FOR DIAGNOSIS" in page for page in pages(content))
    document = pydicom.dcmread(BytesIO(content)).EncapsulatedDocument
    images = [image for page in PdfReader(BytesIO(document)).pages for image in page.images]
    assert len(images) == len(result.key_slices) + 1


def test_no_identity_is_on_its_pages_and_all_of_it_in_the_object(
    result: StudyResult, headers: list[Dataset], context: ReportContext
) -> None:
    content = made(result, headers, context)
    text = " ".join(pages(content))
    assert not any(part in text for part in ("Müller", "ID-17", "A-4711", "1960"))
    read = pydicom.dcmread(BytesIO(content))
    assert (str(read.PatientName), read.AccessionNumber) == ("Müller^Jürgen", "A-4711")
    assert (read.Modality, read.SeriesNumber, read.BurnedInAnnotation) == ("DOC", 9005, "NO")
    assert bytes(read.EncapsulatedDocument[: read.EncapsulatedDocumentLength]).startswith(b"%PDF-")


@pytest.mark.parametrize("language", ["en", "ru"])
def test_same_bytes_and_no_error_of_the_validator(
    language: str,
    result: StudyResult,
    headers: list[Dataset],
    iod_errors: Callable[[bytes], list[str]],
) -> None:
    context = ReportContext("1.2.3", language=language)  # type: ignore[arg-type]
    content = made(result, headers, context)
    assert content == made(result, headers, context)
    assert iod_errors(content) == []
    if language == "ru":
        assert "Вероятность патологии 96.2 %" in " ".join(" ".join(pages(content)).split())


def test_a_font_is_the_same_whenever_it_is_made() -> None:
    before = _font_of_weight(600)
    _font_of_weight.cache_clear()
    time.sleep(1.1)  # a font's own date has a second's resolution
    assert _font_of_weight(600) == before
    characters = TTFont(BytesIO(before)).getBestCmap()
    assert {ord(letter) for letter in "AzÄßΩЯёҐ…–−№≥%"} <= characters.keys()
