"""Who a study is about, as the archive says it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import pytest

from dicom_node.orthanc import Orthanc
from dicom_node.web.patient import Patient, patients, studies_by_number


class Archive:
    """Answers every question with the same studies, and keeps the questions."""

    def __init__(self, *tags: dict[str, str]) -> None:
        self.tags = list(tags)
        self.asked: list[dict[str, str]] = []

    def find_studies(self, query: Mapping[str, str]) -> list[dict[str, str]]:
        self.asked.append(dict(query))
        return self.tags

    def client(self) -> Orthanc:
        return cast("Orthanc", self)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Doe^Jane^^Dr", "Doe Jane Dr"),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "Yamada Tarou"),
        ("=山田^太郎", "山田 太郎"),
        ("", ""),
    ],
)
def test_a_name_as_people_write_it(name: str, shown: str) -> None:
    archive = Archive({"StudyInstanceUID": "1.2", "PatientName": name, "PatientID": "7"})
    assert patients(archive.client(), ["1.2"]) == {"1.2": Patient(shown, "7", "")}


def test_one_question_for_a_page_and_none_for_what_is_no_uid() -> None:
    archive = Archive()
    assert patients(archive.client(), ["1.2", "nifti_a", "1.3", "1.*"]) == {}
    assert archive.asked == [{"StudyInstanceUID": "1.2\\1.3"}]
    assert patients(archive.client(), ["nifti_a", ""]) == {}
    assert len(archive.asked) == 1


def test_a_number_is_looked_for_as_it_is_or_not_at_all() -> None:
    archive = Archive({"StudyInstanceUID": "1.2"}, {"StudyInstanceUID": "1.3"})
    assert studies_by_number(archive.client(), "A-7") == ("1.2", "1.3")
    assert archive.asked == [{"AccessionNumber": "A-7"}, {"PatientID": "A-7"}]
    for wild in ("", "*", "A?", "A\\B"):
        assert studies_by_number(archive.client(), wild) == ()
    assert len(archive.asked) == 2
