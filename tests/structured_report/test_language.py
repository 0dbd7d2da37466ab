"""Reports in Russian: no word is lost, none is English by oversight, and what is English says so."""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Callable
from dataclasses import replace
from importlib import resources
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from inference.bundle_facts import DEMONSTRATION
from inference.study_result import Finding, Measurement, ProbabilityBand, StudyResult
from models.manifest_file import read_manifest
from structured_report import ReportContext
from structured_report.codes import finding_codes
from structured_report.language import Language, Words
from tests.conftest import PROJECT
from tests.structured_report.content import (
    COMMENT,
    CONCLUSION,
    LANGUAGE,
    WORDS,
    built,
    children,
    coded,
    everything,
    group_of,
    groups,
    written,
)
from tests.structured_report.samples import ct_headers, key_slices, result_of_many

CYRILLIC = re.compile("[а-яё]", re.IGNORECASE)
RUSSIAN = Words("ru")
NOT_TRANSLATED = {"LAA-950", "LAA-910", "HAA", "Perc15", "COVID-19"}


@pytest.fixture
def russian(context: ReportContext) -> ReportContext:
    return replace(context, language="ru")


@pytest.fixture
def report(headers: list[Dataset], result: StudyResult, russian: ReportContext) -> Dataset:
    return written(built(result, headers, russian))


def codes_of(item: Dataset) -> list[Dataset]:
    units = [
        unit for value in item.get("MeasuredValueSequence", []) for unit in value.MeasurementUnitsCodeSequence
    ]
    return [*item.ConceptNameCodeSequence, *item.get("ConceptCodeSequence", []), *units]


def test_every_meaning_is_russian_and_no_code_changes(
    report: Dataset, headers: list[Dataset], result: StudyResult, context: ReportContext
) -> None:
    english = written(built(result, headers, context))
    marks = [
        item for item in everything(report) if item.ValueType == "TEXT" for item in children(item, LANGUAGE)
    ]
    told = [item for item in everything(report) if all(item is not mark for mark in marks)]
    compared = list(zip(told, everything(english), strict=True))
    assert len(compared) > 150
    for one, other in compared:
        for ours, theirs in zip(codes_of(one), codes_of(other), strict=True):
            assert CYRILLIC.search(ours.CodeMeaning), ours.CodeMeaning
            if theirs.CodingSchemeDesignator != "RFC5646":
                assert (ours.CodeValue, ours.CodingSchemeDesignator) == (
                    theirs.CodeValue,
                    theirs.CodingSchemeDesignator,
                )
    language = children(report, LANGUAGE)[0].ConceptCodeSequence[0]
    assert (language.CodeValue, language.CodingSchemeDesignator) == ("ru", "RFC5646")


def test_sentences_are_russian_and_the_patient_s_name_stays(report: Dataset) -> None:
    words = children(report, WORDS)[0]
    (conclusion,) = children(words, CONCLUSION)
    assert conclusion.TextValue == (
        "Вероятность патологии 96.2 %, порог 50.0 %: патология выявлена. Находки на уровне порога или выше:"
        " Узел в лёгком (87.3 %), Плевральный выпот (91.0 %). Находок ниже порога: 2. Наиболее опасная"
        " патология: Узел в лёгком."
    )
    assert report.SpecificCharacterSet == "ISO_IR 192"
    assert str(report.PatientName) == "Müller^Jürgen"
    assert report.SeriesDescription == "AI отчёт - ДЕМО: НЕ ДЛЯ ДИАГНОСТИКИ"
    said = [item.TextValue for item in children(group_of(report, "Узел в лёгком"), COMMENT)]
    begin = "Линия охватывает место в теле, на которое смотрел алгоритм (значимость от 0.025"
    assert said[0].startswith(begin)
    assert said[1] == "Наиболее показательный срез: 11-й снизу, номер изображения 14."
    equipment = [item.ContributionDescription for item in report.ContributingEquipmentSequence[1:]]
    assert all(CYRILLIC.search(text) for text in equipment)


def test_an_indeterminate_study_in_russian(
    result: StudyResult, headers: list[Dataset], russian: ReportContext
) -> None:
    band = ProbabilityBand(0.45, 0.55)
    undecided = replace(result, probability=0.52, verdict="indeterminate", indeterminate=band)
    words = children(written(built(undecided, headers, russian)), WORDS)[0]
    assert children(words, CONCLUSION)[0].TextValue.startswith(
        "Вероятность патологии 52.0 %, порог 50.0 %: неопределённо (от 45.0 % до 55.0 %), не отнесено ни"
        " к норме, ни к патологии. По одному лишь порогу: патология выявлена."
    )


def test_what_has_no_translation_is_marked_as_english(
    result: StudyResult, headers: list[Dataset], russian: ReportContext
) -> None:
    told = replace(result, warnings=(DEMONSTRATION, "Nobody translated this."))
    words = children(written(built(told, headers, russian)), WORDS)[0]
    comments = {item.TextValue: item for item in children(words, COMMENT)}
    (mark,) = children(comments["Nobody translated this."], LANGUAGE)
    assert mark.RelationshipType == "HAS CONCEPT MOD"
    assert coded(mark.ConceptCodeSequence) == ("en", "RFC5646")
    translated = next(text for text in comments if text.startswith("Получено демонстрационным"))
    assert children(comments[translated], LANGUAGE) == []


@pytest.mark.parametrize("language", ["en", "ru"])
def test_a_name_of_any_length_makes_a_report_that_others_read(
    *,
    language: Language,
    result: StudyResult,
    headers: list[Dataset],
    russian: ReportContext,
    iod_errors: Callable[[bytes], list[str]],
    tmp_path: Path,
) -> None:
    long, cyrillic, split = "A very long name of something found " * 3, "Находка " * 12, "ground\\glass"
    at = result.key_slices[0]
    findings = tuple(
        Finding(name, 0.9, 0.5, True, 1, {}, None, at) for name in (long.strip(), cyrillic.strip(), split)
    )
    quantities = (Measurement(long.strip(), 1.0, "mL", "As told."), Measurement(split, 1.0, "mL", "Told."))
    told = replace(result, findings=findings, measurements=quantities, most_dangerous=findings[0].name)
    content = built(told, headers, replace(russian, language=language)).to_bytes()
    assert iod_errors(content) == []
    path = tmp_path / "report.dcm"
    path.write_bytes(content)
    done = subprocess.run(["dsrdump", "+Pl", "+U8", path], capture_output=True, check=True, timeout=60)
    for finding in findings:  # whole in the tracking identifier
        assert finding.name in done.stdout.decode().replace("\\\\", "\\")


def test_a_name_that_nobody_translated_stays_as_the_bundle_writes_it(
    result: StudyResult, headers: list[Dataset], russian: ReportContext
) -> None:
    found = (
        Finding("tracheal_stenosis", 0.9, 0.5, True, 1, {}),
        Finding("Rib fracture", 0.8, 0.5, True, 1, {}),
    )
    report = written(built(replace(result, findings=found, most_dangerous=None), headers, russian))
    group = group_of(report, "tracheal_stenosis")
    assert children(group, ("121071", "DCM"))[0].ConceptCodeSequence[0].CodeMeaning == "tracheal_stenosis"
    # Private code and Russian meaning.
    code = children(group_of(report, "Перелом ребра"), ("121071", "DCM"))[0].ConceptCodeSequence[0]
    assert (code.CodingSchemeDesignator, code.CodeMeaning) == ("99DICOMNODE", "Перелом ребра")


def test_every_name_and_code_of_the_data_file_has_a_meaning_of_at_most_64_bytes() -> None:
    read = resources.files("structured_report").joinpath
    table = tomllib.loads(read("codes.toml").read_text("utf-8"))
    written_codes = [finding["code"] for finding in table["findings"] if "code" in finding]
    for part in ("sites", "lateralities", "concepts", "units"):
        written_codes += table[part].values()
    for quantity in table["quantities"]:
        written_codes += [code for key, code in quantity.items() if key not in {"name", "group"}]
    for value, scheme, meaning in written_codes:
        told = RUSSIAN.meaning(scheme, value, meaning)
        if scheme == "DCM" and value in {"109101", "109102", "121322"}:
            continue  # in headers and images, not in the report's content
        assert CYRILLIC.search(told), (scheme, value)
        assert len(told.encode()) <= 64, told
    for name in finding_codes():
        told = RUSSIAN.finding(name)
        assert CYRILLIC.search(told) or told in NOT_TRANSLATED, name
        assert len(told.encode()) <= 64, told


def test_every_column_of_the_shipped_fusion_model_is_named_in_russian() -> None:
    fusion = read_manifest(PROJECT / "best_models" / "demo").fusion
    assert fusion is not None
    for column in fusion.columns:
        told = RUSSIAN.column(column)
        assert CYRILLIC.search(told.partition(": ")[2]), told
    assert Words().column("supervised_top3_mean") == "supervised head: top3 mean"
    assert Words().column("tomorrow_Lung nodule") == "tomorrow_Lung nodule"
    assert Words().member("supervised") == "supervised head"
    assert Words().member("supervised_Lung nodule") == "supervised head: Lung nodule"
    assert Words().member("tomorrow") == "tomorrow"


def test_validator_and_printer_take_seventy_russian_findings(
    russian: ReportContext, iod_errors: Callable[[bytes], list[str]], tmp_path: Path
) -> None:
    headers = ct_headers(30)
    names = list(finding_codes())
    result = result_of_many(headers, names)
    measurements = (
        Measurement("HAA", 7.1, "%", "Share."),
        Measurement("Lung volume", 4000.0, "mL", "Volume."),
    )
    content = built(replace(result, measurements=measurements), headers, russian).to_bytes()
    assert iod_errors(content) == []
    path = tmp_path / "report.dcm"
    path.write_bytes(content)
    done = subprocess.run(["dsrdump", "+Pl", "+U8", path], capture_output=True, check=True, timeout=60)
    printed = done.stdout.decode()
    assert "????" not in printed
    for expected in ("Вероятность", "Тромбоэмболия лёгочной артерии", "Müller^Jürgen", "ДЕМО"):
        assert expected in printed


def test_english_and_russian_reports_have_the_same_groups(
    headers: list[Dataset], result: StudyResult, context: ReportContext, russian: ReportContext
) -> None:
    def uids(where: ReportContext) -> list[str]:
        found = groups(written(built(result, headers, where)))
        return [children(group, ("112040", "DCM"))[0].UID for group in found]

    assert uids(context) == uids(russian)
    assert len(key_slices(result).voxels_hu) == 2
