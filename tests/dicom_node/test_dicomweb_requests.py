"""Which DICOMweb requests pass, and in which form they reach the archive."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_node.viewer.dicomweb_requests import Answer, UnfitQuery, UnknownResource, allowed_request

STUDY = "studies/1.2.840.1"
SERIES = f"{STUDY}/series/1.2.840.2"
INSTANCE = f"{SERIES}/instances/2.25.3"


@pytest.mark.parametrize(
    ("path", "query", "answer"),
    [
        ("studies", "StudyInstanceUID=1.2.840.1&limit=101&offset=0&fuzzymatching=false", Answer.STUDY_SEARCH),
        (f"{STUDY}/series", "includefield=00080021%2C00080031&limit=1&offset=2", Answer.SEARCH),
        (f"{STUDY}/instances", "Modality=CT", Answer.SEARCH),
        (f"{SERIES}/instances", "", Answer.SEARCH),
        (f"{SERIES}/metadata", "", Answer.METADATA),
        (INSTANCE, "", Answer.BYTES),
        (f"{INSTANCE}/frames/1", "", Answer.BYTES),
        (f"{INSTANCE}/frames/1,2,17", "", Answer.BYTES),
        (f"{INSTANCE}/bulk/7fe00010", "", Answer.BYTES),
        (f"{INSTANCE}/bulk/00081140/1/00420011", "", Answer.BYTES),
        (f"{INSTANCE}/rendered", "", Answer.BYTES),
        (f"{INSTANCE}/frames/3/rendered", "", Answer.BYTES),
    ],
)
def test_reading_a_named_study_passes_as_it_is(path: str, query: str, answer: Answer) -> None:
    pairs = [
        (name, value.replace("%2C", ",")) for name, value in (p.split("=") for p in query.split("&") if p)
    ]
    request = allowed_request(path, pairs)
    assert (request.path, request.query, request.answer) == (path, query, answer)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "series",
        "instances",
        "servers",
        "studies/",
        STUDY,  # the whole study as one body
        SERIES,
        "studies/../instances",
        "studies/1.2/../../../system",
        "studies/1..2/series",
        "studies/.1/series",
        "studies/1.2/series/..",
        f"studies/{'1' * 65}/series",
        f"{STUDY}/series\n",
        f"{STUDY}/series/1.2/metadata/x",
        f"{STUDY}/series?x=1",
        f"{STUDY}/series#x",
        f"{INSTANCE}/frames/0",
        f"{INSTANCE}/frames/all",
        f"{INSTANCE}/bulk/../../../../instances",
        f"{INSTANCE}/file",
        f"{INSTANCE}/metadata\r\nX: y",
        "//studies",
        "/system",
        "../system",
        "..%2fsystem",
    ],
)
def test_any_other_path_is_unknown(path: str) -> None:
    with pytest.raises(UnknownResource):
        allowed_request(path, [("StudyInstanceUID", "1.2")])


@pytest.mark.parametrize(
    ("path", "pairs"),
    [
        ("studies", []),  # a list of all patients
        ("studies", [("limit", "101")]),
        ("studies", [("StudyInstanceUID", "")]),
        ("studies", [("StudyInstanceUID", "*")]),
        ("studies", [("StudyInstanceUID", "1.2"), ("PatientID", "4711")]),
        ("studies", [("StudyInstanceUID", "1.2"), ("00100020", "4711")]),
        ("studies", [("StudyInstanceUID", "1.2"), ("PatientName", "Doe*")]),
        ("studies", [("StudyInstanceUID", "1.2"), ("limit", "-1")]),
        ("studies", [("StudyInstanceUID", "1.2"), ("limit", "1\r\nHost: x")]),
        (f"{STUDY}/series", [("AccessionNumber", "A1")]),
        (f"{STUDY}/series", [("includefield", "a&b")]),
        (f"{SERIES}/metadata", [("accept", "text/html")]),
        (f"{INSTANCE}/rendered", [("window", "-600,1500,linear")]),
        (f"{INSTANCE}/rendered", [("viewport", "20000,20000")]),  # costs the archive a gigabyte
        (INSTANCE, [("accept", "application/dicom")]),
    ],
)
def test_a_search_by_patient_and_any_other_parameter_is_refused(
    path: str, pairs: list[tuple[str, str]]
) -> None:
    with pytest.raises(UnfitQuery) as caught:
        allowed_request(path, pairs)
    for name, value in pairs:
        assert not value or value not in str(caught.value)
        assert name in {"StudyInstanceUID", "limit", "includefield"} or name not in str(caught.value)


@given(st.text(), st.lists(st.tuples(st.text(), st.text()), max_size=3))
def test_whatever_passes_is_of_harmless_characters(tail: str, pairs: list[tuple[str, str]]) -> None:
    for path in (tail, f"studies/{tail}", f"{INSTANCE}/{tail}", f"{INSTANCE}/frames/{tail}"):
        try:
            request = allowed_request(path, pairs)
        except (UnknownResource, UnfitQuery):
            continue
        assert re.fullmatch(r"[A-Za-z0-9./,]+", request.path)
        assert ".." not in request.path
        assert re.fullmatch(r"[A-Za-z0-9%=&.+_-]*", request.query)
