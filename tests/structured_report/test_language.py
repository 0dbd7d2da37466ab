"""Reports in Russian: no word is lost, none is English by oversight, and what is English says so."""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Callable
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from inference.analyse import DEMONSTRATION
from inference.calibration import calibration_words
from inference.densitometry import densitometry
from inference.errors import REMEDIES, Refusal, RefusalCode
from inference.findings import side_warning
from inference.lung_coverage import OpenEnd, cut_off_warnings, refuse_truncated
from inference.lungs import Lungs
from inference.series import choose_series
from inference.study_result import Finding, Measurement, ProbabilityBand, StudyResult
from models.manifest import CalibrationSpec, SaliencySpec
from models.manifest_file import read_manifest
from structured_report import ReportContext
from structured_report.codes import finding_codes
from structured_report.language import Words
from tests.conftest import PROJECT
from tests.inference.synthetic import volume_of
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
from tests.structured_report.samples import ct_headers, key_slices, region, result_of_many, study_result

DEMO = PROJECT / "best_models" / "demo"
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
        "Вероятность патологии 96.2 %, порог 50.0 %: патология есть. Находки на уровне порога или выше: Узел"
        " в лёгком (87.3 %), Плевральный выпот (91.0 %). Находок ниже порога: 2. Самая опасная патология:"
        " Узел в лёгком."
    )
    assert report.SpecificCharacterSet == "ISO_IR 192"
    assert str(report.PatientName) == "Müller^Jürgen"
    assert report.SeriesDescription == "AI отчёт - ДЕМО: НЕ ДЛЯ ДИАГНОСТИКИ"
    said = [item.TextValue for item in children(group_of(report, "Узел в лёгком"), COMMENT)]
    assert said[0].startswith("Линия охватывает место, на которое смотрел алгоритм (значимость от 0.025")
    assert said[1] == "Лучший срез: 11-й от ног, номер изображения 14."
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
        " к норме, ни к патологии. По одному лишь порогу: патология есть."
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
    translated = next(text for text in comments if text.startswith("Сделано демонстрационным"))
    assert children(comments[translated], LANGUAGE) == []


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


OF_THE_ARCHIVE = list(RefusalCode)[: list(RefusalCode).index(RefusalCode.IMAGES_REJECTED)]
REFUSALS = [
    "The series has 12 slices; at least 30 are needed.",
    "The series has 1 image(s) with a position.",
    "The series covers 12 planes of 1.5 mm; at least 30 are needed.",
    "The images lie 90 degrees from the axial plane: a reformat or a scout.",
    "The images lie 31.5 degrees from the axial plane; up to 30 can be read.",
    "The gantry was tilted by 31.5 degrees; up to 30 can be straightened.",
    "The images are spread over 6.2 m: no patient is so long.",
    "The series mixes images of 512 x 512 and of 256 x 128 pixels.",
    "The images are shifted against each other by up to 3.2 mm.",
    "About 4 slice(s) are missing: distances between neighbours range from 2.50 to 7.50 mm.",
    "The distance between neighbouring slices varies from 1.00 to 3.00 mm.",
    "3 of 40 files of the series are no readable DICOM images.",
    "At least 9 of 40 slices cannot be decoded (broken stream).",
    "The series has 2.3 thousand million voxels.",
    "The series shows only 12 ml of aerated lung over 40 mm: it is not a CT of the chest, or one with hardly"
    " any air in the lungs.",
]


def refusals() -> list[str]:
    """Refusals that the analysis makes, by itself where that is cheap."""
    made = []
    mask = np.zeros((12, 24, 24), bool)
    mask[:, 4:20, 4:20] = True
    cut = Lungs(mask, mask[:, :, ::-1], (1, 1, 1), (5.0, 5.0, 5.0), 900.0, -850.0)
    for refuse in (lambda: refuse_truncated(cut), lambda: choose_series([])):
        with pytest.raises(Refusal) as refusal:
            refuse()
        made.append(refusal.value.sentence)
    return made


def english_sentences() -> list[str]:
    """What the analysis and the shipped bundle say, made by them where that is cheap."""
    manifest = read_manifest(DEMO)
    platt = CalibrationSpec("platt", 1.2, 0.1, "studies", 200, 0.2, 0.1, 0.1, 0.05)
    mask = np.zeros((12, 24, 24), bool)
    mask[2:10, 4:20, 4:10] = True
    lungs = Lungs(mask, mask[:, :, ::-1], (1, 1, 1), (5.0, 5.0, 5.0), 900.0, -850.0)
    volume = volume_of(np.full(mask.shape, -850, np.int16), (5.0, 5.0, 5.0))
    located = Finding(
        "Lung nodule", 0.9, 0.5, True, 1, {}, region=region(study_result(ct_headers()).key_slices[0])
    )
    sides = [SaliencySpec(0.1, share, 30) for share in (None, 0.61)]
    ends = [OpenEnd("head", 23.0, False, 0.2), OpenEnd("feet", 40.0, True, 0.6)]
    return [
        DEMONSTRATION,
        manifest.intended_use,
        *map(
            calibration_words,
            (manifest.calibration, platt, CalibrationSpec("none"), CalibrationSpec("platt")),
        ),
        *(measurement.method for measurement in densitometry(volume, lungs).measurements),
        *(side_warning([located], spec) or "" for spec in sides),
        *cut_off_warnings(ends),
        "The gantry was tilted by 12.0 degrees: the volume was straightened.",
        "One slice is missing between z = -112.5 and -107.5 mm and was interpolated from its neighbours.",
        "The distance between slices varies from 1.08 to 7.00 mm: the volume was resampled to even spacing.",
        "The fusion column okhr_1 is held at 0: the network is not used here",
        "2 file(s) of the series cannot be read and were left out.",
        "The pixels of 2 slice(s) cannot be decoded and were left out: at z = -12.5 and 40.0 mm.",
        "3 image(s) of the series belong to another acquisition and were left out.",
        "The study counts as pathological, and no finding reaches its own operating point: Emphysema came"
        " nearest.",
        *REFUSALS,
        *refusals(),
        *(REMEDIES[code] for code in OF_THE_ARCHIVE),
        "The memory of cuda:0 did not suffice: this study was read on the CPU in float32.",
    ]


@pytest.mark.parametrize("sentence", english_sentences())
def test_a_sentence_of_the_analysis_has_its_russian_with_the_same_numbers(sentence: str) -> None:
    told = RUSSIAN.of_analysis(sentence)
    assert told.language == "ru"
    assert CYRILLIC.search(told.text)
    assert not re.search(r"\{|\}", told.text)
    figures = re.compile(r"-?\d+(?:\.\d+)?")
    assert set(figures.findall(sentence)) - {"-"} <= set(figures.findall(told.text))
    assert Words().of_analysis(sentence).text == sentence


def test_a_finding_within_a_sentence_is_named_in_russian() -> None:
    told = RUSSIAN.of_analysis(
        "The study counts as pathological, and no finding reaches its own operating point besides"
        " Other pathology, Pathological finding, which can be anything: Lung nodule came nearest."
    )
    assert "(Другая патология, Патологическая находка)" in told.text
    assert told.text.endswith("ближе всего: Узел в лёгком.")


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
