"""All objects of a result together: the same arguments give the same bytes, another key other objects."""

from __future__ import annotations

import time
from dataclasses import replace
from io import BytesIO

import pydicom
import pytest
from pydicom.dataset import Dataset

from inference.study_result import StudyResult
from structured_report import ReportContext, ReportError, build_objects
from tests.structured_report.samples import ct_headers, key_slices, study_result


def test_the_same_arguments_give_the_same_bytes(context: ReportContext) -> None:
    def content() -> list[bytes]:
        headers = ct_headers()
        result = study_result(headers)
        return [item.to_bytes() for item in build_objects(result, headers, key_slices(result), context)]

    first = content()
    time.sleep(1.1)  # DICOM times have a second's resolution where a library does not write fractions
    assert content() == first


def test_a_result_read_back_from_json_makes_the_same_bytes(
    result: StudyResult, headers: list[Dataset], context: ReportContext
) -> None:
    again = StudyResult.from_json(result.to_json())
    one, other = (
        [item.to_bytes() for item in build_objects(made, headers, key_slices(made), context)]
        for made in (result, again)
    )
    assert one == other


def test_uids_follow_from_the_key(
    result: StudyResult, headers: list[Dataset], context: ReportContext
) -> None:
    one = build_objects(result, headers, key_slices(result), context)
    other = build_objects(replace(result, key="another"), headers, key_slices(result), context)
    uids = [uid for item in (*one, *other) for uid in (item.sop_instance_uid,)]
    assert len(set(uids)) == len(uids) == 8
    assert {item.series_uid for item in one}.isdisjoint(item.series_uid for item in other)
    assert len({item.series_uid for item in one}) == 2
    for uid in uids:
        assert uid.startswith("2.25.")
        assert pydicom.uid.UID(uid).is_valid


def test_objects_are_files_that_name_their_maker(
    result: StudyResult, headers: list[Dataset], context: ReportContext
) -> None:
    for item in build_objects(result, headers, key_slices(result), context):
        content = item.to_bytes()
        assert content[128:132] == b"DICM"
        read = pydicom.dcmread(BytesIO(content))
        assert read.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
        assert read.file_meta.MediaStorageSOPInstanceUID == read.SOPInstanceUID == item.sop_instance_uid
        assert read.file_meta.ImplementationVersionName == "DICOM_NODE"


def test_series_numbers_start_where_the_setting_says(
    result: StudyResult, headers: list[Dataset], context: ReportContext
) -> None:
    objects = build_objects(result, headers, key_slices(result), replace(context, series_number_base=700))
    assert [item.dataset.SeriesNumber for item in objects] == [700, 701, 701, 701]


def test_a_result_without_a_key_has_no_objects(
    result: StudyResult, headers: list[Dataset], context: ReportContext
) -> None:
    with pytest.raises(ReportError, match="key"):
        build_objects(replace(result, key=""), headers, key_slices(result), context)
