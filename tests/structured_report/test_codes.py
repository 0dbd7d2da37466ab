"""Codes: every published label has one, and a name nobody foresaw gets a private one of its own."""

from __future__ import annotations

import json
import re
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

PUBLISHED = ("ct_rate_labels_18", "ctclip_prompts_55", "supervised_labels_15")

# Codes of SNOMED CT that no context group of PS3.16 lists, and that were looked up one by one.
LOOKED_UP = {
    *("8186001", "445512009", "84089009", "87433001", "46621007", "786838002", "51615001", "95436008"),
    "12295008",
}


def test_every_published_label_is_in_the_data_file(parity: Path) -> None:
    labels = json.loads((parity / "features" / "labels.json").read_text())
    assert {name for part in PUBLISHED for name in labels[part]} == set(finding_codes())


def test_a_public_code_is_in_the_context_group_that_its_source_names() -> None:
    for item in finding_codes().values():
        if item.match == "none":
            assert item.source == "private"
            continue
        listed = {
            group
            for entry in concepts[item.code.scheme_designator].values()
            if item.code.value in entry
            for group in entry[item.code.value][1]
        }
        named = re.search(r"CID (\d+)", item.source)
        if named is None:
            assert item.code.value in LOOKED_UP, item.name
        else:
            assert int(named[1]) in listed, item.name


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
        ("Pulmonary embolism", "59282003", "SCT"),
        ("Ground-glass opacity", "112120", "DCM"),
        ("Aortic dissection", "308546005", "SCT"),
        ("Bone metastases", "94222008", "SCT"),
        ("coronary_calcium", "445512009", "SCT"),
    ],
)
def test_public_code(name: str, value: str, scheme: str) -> None:
    code = finding_code(name).code
    assert (code.value, code.scheme_designator) == (value, scheme)


def test_a_finding_without_a_public_code_is_private_and_says_so() -> None:
    private = {item.name for item in finding_codes().values() if item.match == "none"}
    assert {"Medical material", "Peribronchial thickening", "Pneumonia", "Rib fracture", "covid"} <= private
    assert len({finding_code(name).code.value for name in private}) == len(private)
    for item in finding_codes().values():
        assert (item.code.scheme_designator == "99DICOMNODE") == (item.match == "none")
        assert item.source
        assert item.site is not None


def test_public_codes_mean_what_the_standard_says() -> None:
    """Value and meaning as pydicom's dictionaries of PS3.16 have them, wherever they have the code."""
    table = tomllib.loads(resources.files("structured_report").joinpath("codes.toml").read_text("utf-8"))
    written = [finding["code"] for finding in table["findings"] if "code" in finding]
    written += [code for part in ("sites", "lateralities", "concepts") for code in table[part].values()]
    checked = 0
    for value, scheme, meaning in written:
        entries = [entry[value] for entry in concepts.get(scheme, {}).values() if value in entry]
        meanings = {
            entry[0] for entry in entries if entry[1]
        }  # entries of context groups; others are SNOMED's
        checked += bool(meanings)
        assert not meanings or meaning in meanings, (value, meaning)
    assert checked > 60


def test_only_paired_organs_have_a_side() -> None:
    sided = {name for name, item in finding_codes().items() if item.sided}
    assert {"Lung nodule", "Pleural effusion", "Pneumothorax", "Bronchiectasis"} <= sided
    assert not sided & {"Cardiomegaly", "Pericardial effusion", "Hiatal hernia", "Medical material"}
    assert finding_code("A finding of another bundle").sided  # nobody knows: the side is told


def test_an_unforeseen_name_gets_a_code_of_its_own() -> None:
    one, other = finding_code("tracheal_stenosis"), finding_code("aspergilloma")
    assert one.match == "none"
    assert one.code == private_code("tracheal_stenosis") != other.code
    assert one.code.scheme_designator == private_scheme().CodingSchemeDesignator
    assert one.code.meaning == "tracheal_stenosis"


def test_codes_fit_their_value_representations() -> None:
    long_name = "Какое-то очень длинное название находки, которое не помещается в шестьдесят четыре знака"
    codes = [item.code for item in finding_codes().values()]
    codes += [private_code(long_name), concept("most_dangerous"), concept("qualitative_evaluations")]
    for code in codes:
        assert len(code.value) <= 16
        assert len(code.scheme_designator) <= 16
        assert len(code.meaning.encode()) <= 64  # validators and some receivers count bytes


def test_a_backslash_in_a_name_does_not_split_its_meaning() -> None:
    assert private_code("ground glass\\crazy paving").meaning == "ground glass/crazy paving"


def test_laterality_is_of_context_group_244() -> None:
    assert [laterality_code(side).value for side in ("left", "right", "bilateral")] == [
        "7771000",
        "24028007",
        "51440002",
    ]
