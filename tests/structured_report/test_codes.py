"""Codes: every published label has one, and a name nobody foresaw gets a private one of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from structured_report.codes import (
    concept,
    finding_code,
    finding_codes,
    laterality_code,
    private_code,
    private_scheme,
)


def test_every_published_label_is_in_the_data_file(parity: Path) -> None:
    labels = json.loads((parity / "features" / "labels.json").read_text())["ct_rate_labels_18"]
    assert {*labels, "Pneumothorax"} == set(finding_codes())


@pytest.mark.parametrize(
    ("name", "value", "scheme"),
    [
        ("Cardiomegaly", "8186001", "SCT"),  # not 287272002, "Enlarged septal foramen"
        ("Pericardial effusion", "373945007", "SCT"),
        ("Coronary artery wall calcification", "445512009", "SCT"),
        ("Hiatal hernia", "84089009", "SCT"),
        ("Lymphadenopathy", "30746006", "SCT"),
        ("Emphysema", "87433001", "SCT"),
        ("Atelectasis", "46621007", "SCT"),
        ("Lung nodule", "786838002", "SCT"),
        ("Lung opacity", "112001", "DCM"),
        ("Pulmonary fibrotic sequela", "51615001", "SCT"),
        ("Pleural effusion", "60046008", "SCT"),
        ("Mosaic attenuation pattern", "112130", "DCM"),
        ("Consolidation", "95436008", "SCT"),
        ("Bronchiectasis", "12295008", "SCT"),
        ("Interlobular septal thickening", "112114", "DCM"),
        ("Arterial wall calcification", "112063", "DCM"),
        ("Pneumothorax", "36118008", "SCT"),
    ],
)
def test_public_code(name: str, value: str, scheme: str) -> None:
    code = finding_code(name).code
    assert (code.value, code.scheme_designator) == (value, scheme)


def test_a_finding_without_a_public_code_is_private_and_says_so() -> None:
    private = {item.name for item in finding_codes().values() if item.match == "none"}
    assert private == {"Medical material", "Peribronchial thickening"}
    for item in finding_codes().values():
        assert (item.code.scheme_designator == "99DICOMNODE") == (item.match == "none")
        assert item.source
        assert item.site is not None


def test_an_unforeseen_name_gets_a_code_of_its_own() -> None:
    one, other = finding_code("ribs_fracture"), finding_code("covid")
    assert one.match == "none"
    assert one.code == private_code("ribs_fracture") != other.code
    assert one.code.scheme_designator == private_scheme().CodingSchemeDesignator
    assert one.code.meaning == "ribs_fracture"


def test_codes_fit_their_value_representations() -> None:
    long_name = "Какое-то очень длинное название находки, которое не помещается в шестьдесят четыре знака"
    codes = [item.code for item in finding_codes().values()]
    codes += [private_code(long_name), concept("most_dangerous"), concept("qualitative_evaluations")]
    for code in codes:
        assert len(code.value) <= 16
        assert len(code.scheme_designator) <= 16
        assert len(code.meaning) <= 64


def test_laterality_is_of_context_group_244() -> None:
    assert [laterality_code(side).value for side in ("left", "right", "bilateral")] == [
        "7771000",
        "24028007",
        "51440002",
    ]
