"""What is said of a refused study: not evaluated, why, what to do, and nothing that looks like an answer."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from inference.errors import REMEDIES, RefusalCode
from structured_report import PredecessorDocument, RefusedStudy, ReportContext, SourceError, refusal_objects
from structured_report.language import Words
from structured_report.refused_study import refusal_picture
from structured_report.summary_drawing import draw_summary
from tests.structured_report.content import PRESENCE, children, coded, everything, name_of, written
from tests.structured_report.samples import STUDY_UID, ct_headers

FINDINGS, CONCLUSIONS, RECOMMENDATIONS = ("121070", "DCM"), ("121076", "DCM"), ("121074", "DCM")
CONCLUSION, RECOMMENDATION = ("121077", "DCM"), ("121075", "DCM")
SENTENCE = "About 4 slice(s) are missing: distances between neighbours range from 2.50 to 7.50 mm."
REFUSED = RefusedStudy(
    key="5e" * 32,
    study_uid=STUDY_UID,
    code="missing_slices",
    sentence=SENTENCE,
    remedy=REMEDIES[RefusalCode.MISSING_SLICES],
    refused_at="2026-03-01T09:30:15.250000+00:00",
    software_version="0.1.0",
)


@pytest.fixture(scope="module")
def report() -> Dataset:
    context = ReportContext("1.2.826.0.1.3680043.8.498.99", timezone="Europe/Moscow")
    (item,) = refusal_objects(REFUSED, ct_headers(6), context, kinds=("sr",))
    return written(item)


def test_title_is_not_that_of_an_answer(report: Dataset) -> None:
    assert name_of(report) == ("18748-4", "LN")
    assert report.ContentTemplateSequence[0].TemplateIdentifier == "2000"
    assert (report.CompletionFlag, report.VerificationFlag) == ("COMPLETE", "UNVERIFIED")
    assert (report.SeriesDescription, report.SeriesNumber) == ("AI not evaluated", 9000)
    assert (report.ContentDate, report.ContentTime) == ("20260301", "123015.250000")


def test_every_container_stands_on_its_own(report: Dataset) -> None:
    containers = [item for item in everything(report) if item.ValueType == "CONTAINER"]
    assert len(containers) == 4
    assert {item.ContinuityOfContent for item in containers} == {"SEPARATE"}


@pytest.mark.parametrize(
    ("name", "relationship", "least"),
    [
        (("121058", "DCM"), "HAS CONCEPT MOD", 1),
        (("121049", "DCM"), "HAS CONCEPT MOD", 1),
        (("121005", "DCM"), "HAS OBS CONTEXT", 1),
        (("121012", "DCM"), "HAS OBS CONTEXT", 1),
        (FINDINGS, "CONTAINS", 1),
        (CONCLUSIONS, "CONTAINS", 1),
        (RECOMMENDATIONS, "CONTAINS", 1),
    ],
)
def test_rows_of_its_template(report: Dataset, name: tuple[str, str], relationship: str, least: int) -> None:
    found = children(report, name)
    assert len(found) >= least
    assert {item.RelationshipType for item in found} == {relationship}


def test_it_says_not_evaluated_with_code_sentence_and_remedy(report: Dataset) -> None:
    (findings,) = children(report, FINDINGS)
    (presence,) = children(findings, PRESENCE)
    (outcome,) = children(findings, ("111017", "DCM"))
    (code,) = children(findings, ("refusal-code", "99DICOMNODE"))
    assert coded(presence.ConceptCodeSequence) == ("373121007", "SCT")
    assert coded(outcome.ConceptCodeSequence) == ("111245", "DCM")
    assert code.TextValue == "missing_slices"
    said = [item.TextValue for item in children(children(report, CONCLUSIONS)[0], CONCLUSION)]
    assert said == ["Not evaluated by the AI", SENTENCE]
    (advice,) = children(children(report, RECOMMENDATIONS)[0], RECOMMENDATION)
    assert advice.TextValue == "Send the missing slices; the study is then analysed anew."
    assert not any(item.ValueType == "NUM" for item in everything(report))


def test_it_is_about_the_refused_images_and_their_patient(report: Dataset) -> None:
    named = [
        reference.ReferencedSOPInstanceUID
        for study in report.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for reference in series.ReferencedSOPSequence
    ]
    assert sorted(named) == sorted(header.SOPInstanceUID for header in ct_headers(6))
    assert (str(report.PatientName), report.AccessionNumber) == ("Müller^Jürgen", "A-4711")
    assert [item.ManufacturerModelName for item in report.ContributingEquipmentSequence] == [
        "Model 1",
        "dicom-node",
    ]


def test_uids_follow_from_the_key_and_the_same_arguments_give_the_same_bytes(context: ReportContext) -> None:
    def made(key: str) -> list[bytes]:
        objects = refusal_objects(replace(REFUSED, key=key), ct_headers(6), context, kinds=("sr", "sc"))
        assert [item.kind for item in objects] == ["sr", "sc"]
        return [item.to_bytes() for item in objects]

    assert made("5e" * 32) == made("5e" * 32)
    uids = [pydicom.dcmread(BytesIO(item)).SOPInstanceUID for key in ("a", "b") for item in made(key)]
    assert len(set(uids)) == 4


def test_only_the_first_header_need_be_whole(context: ReportContext) -> None:
    first, *others = ct_headers(6)
    for header in others:
        for element in list(header):
            if not element.keyword.endswith("UID"):
                del header[element.tag]
    (one,) = refusal_objects(REFUSED, [first, *others], context, kinds=("sr",))
    (other,) = refusal_objects(REFUSED, ct_headers(6), context, kinds=("sr",))
    assert one.to_bytes() == other.to_bytes()
    with pytest.raises(SourceError):
        refusal_objects(REFUSED, [], context, kinds=("sr",))


@pytest.mark.parametrize("language", ["en", "ru"])
def test_the_page_holds_every_word(language: str) -> None:
    words = Words(language)  # type: ignore[arg-type]
    picture = refusal_picture(REFUSED, words)
    text = " ".join(" ".join(picture.lines).split())
    for said in (REFUSED.sentence, REFUSED.remedy):
        assert words.of_analysis(said).text in text
    assert picture.footer[0].endswith("missing_slices")
    page = draw_summary(picture)
    assert page.shape[1] == 1024
    assert np.ptp(page) > 200


def test_no_page_says_more_than_the_notice(context: ReportContext) -> None:
    (page,) = refusal_objects(REFUSED, ct_headers(6), context, kinds=("sc",))
    read = pydicom.dcmread(BytesIO(page.to_bytes()))
    assert (read.SeriesDescription, read.BurnedInAnnotation) == ("AI not evaluated", "NO")
    assert read.SourceImageSequence[0].ReferencedSOPInstanceUID == ct_headers(1)[0].SOPInstanceUID


@pytest.mark.parametrize("language", ["en", "ru"])
def test_validator_and_printer_take_them(
    language: str, context: ReportContext, iod_errors: Callable[[bytes], list[str]], tmp_path: Path
) -> None:
    told = replace(
        context, language=language, predecessor=PredecessorDocument(STUDY_UID, "1.2.3", "1.2.3.4", "1.2.5")
    )
    for item in refusal_objects(REFUSED, ct_headers(6), told, kinds=("sr", "sc")):
        assert iod_errors(item.to_bytes()) == []
        if item.kind == "sr":
            file = tmp_path / "sr.dcm"
            file.write_bytes(item.to_bytes())
            printed = subprocess.run(
                ["dsrdump", "+Pl", file], capture_output=True, text=True, check=True, timeout=60
            )
            assert "373121007" in printed.stdout
