"""Codes: every published label has one, and a name nobody foresaw gets a private one of its own."""

from __future__ import annotations

import json
import tomllib
from importlib import resources
from pathlib import Path

import pytest
from pydicom.sr._concepts_dict import concepts

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


def test_public_codes_mean_what_the_standard_says() -> None:
    """Value and meaning as pydicom's dictionaries of PS3.16 have them, wherever they have the code."""
    table = tomllib.loads(resources.files("structured_report").joinpath("codes.toml").read_text("utf-8"))
    written = [finding["code"] for finding in table["findings"]]
    written += [code for part in ("sites", "lateralities", "concepts") for code in table[part].values()]
    checked = 0
    for value, scheme, meaning in written:
        entries = [entry[value] for entry in concepts.get(scheme, {}).values() if value in entry]
        meanings = {
            entry[0] for entry in entries if entry[1]
        }  # entries of context groups; others are SNOMED's
        checked += bool(meanings)
        assert not meanings or meaning in meanings, (value, meaning)
    assert checked > 25


def test_only_paired_organs_have_a_side() -> None:
    sided = {name for name, item in finding_codes().items() if item.sided}
    assert {"Lung nodule", "Pleural effusion", "Pneumothorax", "Bronchiectasis"} <= sided
    assert not sided & {"Cardiomegaly", "Pericardial effusion", "Hiatal hernia", "Medical material"}
    assert finding_code("ribs_fracture").sided  # nobody knows: the side is told


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


def test_a_backslash_in_a_name_does_not_split_its_meaning() -> None:
    assert private_code("ground glass\\crazy paving").meaning == "ground glass/crazy paving"


def test_laterality_is_of_context_group_244() -> None:
    assert [laterality_code(side).value for side in ("left", "right", "bilateral")] == [
        "7771000",
        "24028007",
        "51440002",
    ]
