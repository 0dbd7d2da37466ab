"""Reports in the SOP class, and text in the character set, that one receiver wants."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from pydicom import dcmwrite
from pydicom.dataset import Dataset

from inference.study_result import StudyResult
from structured_report import (
    SR_CLASSES,
    CharacterSetError,
    PredecessorDocument,
    ReportContext,
    build_objects,
    in_character_set,
    in_sr_class,
)
from structured_report.identifiers import object_uid, series_uid
from tests.structured_report.content import built, everything, written
from tests.structured_report.samples import key_slices

COMPREHENSIVE_3D = SR_CLASSES["comprehensive_3d"]


def content(dataset: Dataset) -> bytes:
    with BytesIO() as buffer:
        dcmwrite(buffer, dataset, enforce_file_format=True)
        return buffer.getvalue()


@pytest.mark.parametrize("name", ["comprehensive", "enhanced"])
def test_another_class_has_other_uids_and_the_same_content(
    *,
    name: str,
    result: StudyResult,
    headers: list[Dataset],
    context: ReportContext,
    iod_errors: Callable[[bytes], list[str]],
    tmp_path: Path,
) -> None:
    report = written(built(result, headers, context))
    changed = in_sr_class(report, SR_CLASSES[name], result.key, None)
    assert content(changed) == content(in_sr_class(report, SR_CLASSES[name], result.key, None))
    read = pydicom.dcmread(BytesIO(content(changed)))
    assert read.SOPClassUID == read.file_meta.MediaStorageSOPClassUID == SR_CLASSES[name]
    assert read.SOPInstanceUID == object_uid(result.key, SR_CLASSES[name], 1) != report.SOPInstanceUID
    assert read.SeriesInstanceUID == series_uid(result.key, SR_CLASSES[name]) != report.SeriesInstanceUID
    assert read.ContentSequence == report.ContentSequence
    # A region stays a region: points in the image, which every class knows.
    assert any(item.ValueType == "SCOORD" for item in everything(read))
    assert iod_errors(content(changed)) == []
    file = tmp_path / "sr.dcm"
    file.write_bytes(content(changed))
    subprocess.run(["dsrdump", file], capture_output=True, check=True, timeout=60)


def test_predecessor_is_the_one_that_the_receiver_knows(
    result: StudyResult, headers: list[Dataset], context: ReportContext
) -> None:
    before = PredecessorDocument(
        result.study_uid,
        series_uid("before", COMPREHENSIVE_3D),
        object_uid("before", COMPREHENSIVE_3D, 1),
        COMPREHENSIVE_3D,
    )
    report = written(built(result, headers, replace(context, predecessor=before)))
    enhanced = SR_CLASSES["enhanced"]
    changed = in_sr_class(report, enhanced, result.key, "before")
    (series,) = changed.PredecessorDocumentsSequence[0].ReferencedSeriesSequence
    (reference,) = series.ReferencedSOPSequence
    assert series.SeriesInstanceUID == series_uid("before", enhanced)
    assert reference.ReferencedSOPInstanceUID == object_uid("before", enhanced, 1)
    assert reference.ReferencedSOPClassUID == enhanced
    (kept,) = report.PredecessorDocumentsSequence[0].ReferencedSeriesSequence
    assert kept.ReferencedSOPSequence[0].ReferencedSOPClassUID == COMPREHENSIVE_3D


@pytest.mark.parametrize(
    ("language", "term"), [("en", "ISO_IR 100"), ("ru", "ISO_IR 144"), ("ru", "GB18030")]
)
def test_every_word_is_the_same_in_a_character_set_that_has_it(
    *,
    language: str,
    term: str,
    result: StudyResult,
    headers: list[Dataset],
    context: ReportContext,
    iod_errors: Callable[[bytes], list[str]],
) -> None:
    if language == "ru":
        for header in headers:
            header.PatientName, header.ReferringPhysicianName = "Ivanov^Ivan", ""
    told = replace(context, language=language)
    for item in build_objects(result, headers, key_slices(result), told, kinds=("sr", "sc", "kos", "pdf")):
        made = written(item)
        recoded = pydicom.dcmread(BytesIO(content(in_character_set(made, term))))
        assert recoded.SpecificCharacterSet == term
        assert recoded.SOPInstanceUID == made.SOPInstanceUID
        texts, others = (
            [str(element.value) for element in dataset.iterall() if element.keyword != "SpecificCharacterSet"]
            for dataset in (made, recoded)
        )
        assert texts == others
        if item.kind == "sr" and language == "ru":
            assert "Плевральный выпот".encode({"ISO_IR 144": "iso8859_5"}.get(term, term)) in content(recoded)
        assert iod_errors(content(recoded)) == []


def test_a_character_that_does_not_fit_is_an_error_that_names_the_attribute_alone(
    result: StudyResult, headers: list[Dataset], context: ReportContext
) -> None:
    report = written(built(result, headers, context))
    with pytest.raises(CharacterSetError) as error:
        in_character_set(report, "ISO_IR 144")
    assert str(error.value) == "ISO_IR 144 lacks a character of ReferringPhysicianName"
    assert report.SpecificCharacterSet == "ISO_IR 192"
    russian = written(built(result, headers, replace(context, language="ru")))
    with pytest.raises(CharacterSetError, match="ISO_IR 100 lacks a character of"):
        in_character_set(russian, "ISO_IR 100")
