"""The lists that are shipped, and those that somebody brings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bundle_import.errors import ImportCode, ImportRefused
from bundle_import.findings import ABNORMAL_SLICE, finding_specs
from bundle_import.prompt_lists import (
    CT_RATE_18,
    ORIGINAL_55,
    SUPERVISED_15,
    head_labels,
    prompt_list,
    shipped_lists,
)


def test_the_shipped_lists_are_those_of_the_publications(parity: Path) -> None:
    labels = json.loads((parity / "features" / "labels.json").read_text())
    lists = shipped_lists()
    assert list(lists[CT_RATE_18].names) == labels["ct_rate_labels_18"]
    assert list(lists[ORIGINAL_55].names) == labels["ctclip_prompts_55"]
    assert list(lists[SUPERVISED_15].names) == labels["supervised_labels_15"]
    assert {name: list(group) for name, group in lists[ORIGINAL_55].groups.items()} == labels["groups"]


def test_what_can_kill_within_hours_ranks_above_what_is_worn() -> None:
    rank = {label.name: label.severity for label in shipped_lists()[ORIGINAL_55].labels}
    assert all(1 <= severity <= 10 for severity in rank.values())
    for urgent in ("Pulmonary embolism", "Aortic dissection", "Pneumothorax"):
        assert rank[urgent] > rank["Pneumonia"] > rank["Hiatal hernia"] > rank["Degenerative spine changes"]
    umbrellas = {label.name for label in shipped_lists()[ORIGINAL_55].labels if label.umbrella}
    assert umbrellas == {"Pathological finding", "Other pathology"}


def test_a_file_of_labels(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text("# ours\nPneumonia\n\n  Foreign body  # new\nPulmonary embolism\n")
    labels = prompt_list(str(path))
    assert labels.names == ("Pneumonia", "Foreign body", "Pulmonary embolism")
    assert [label.severity for label in labels.labels] == [7, 0, 10]
    assert labels.groups == {}
    for content in ("", "Pneumonia\nPneumonia\n"):
        path.write_text(content)
        with pytest.raises(ImportRefused) as refused:
            prompt_list(str(path))
        assert refused.value.code is ImportCode.BAD_LABELS
    with pytest.raises(ImportRefused) as refused:
        prompt_list("ct_rate_19")
    assert refused.value.code is ImportCode.NO_SUCH_FILE


def test_the_labels_of_a_head_fit_its_logits() -> None:
    assert head_labels(15, (), SUPERVISED_15).names[0] == "ribs_fracture"
    assert head_labels(2, ("cancer", "new"), SUPERVISED_15).names == ("cancer", "new")
    for number, brought in ((14, ()), (15, ("cancer",))):
        with pytest.raises(ImportRefused) as refused:
            head_labels(number, brought, SUPERVISED_15)
        assert refused.value.code is ImportCode.BAD_LABELS


def test_a_label_of_both_members_is_one_finding() -> None:
    lists = shipped_lists()
    findings = {spec.name: spec for spec in finding_specs(lists[ORIGINAL_55], lists[SUPERVISED_15])}
    assert findings["Pneumothorax"].columns == ("ctclip_Pneumothorax", "supervised_pneumothorax")
    assert findings["Pneumothorax"].severity == 10
    assert findings["ribs_fracture"].columns == ("supervised_ribs_fracture",)
    assert findings["Other pathology"].umbrella
    assert len(findings) == 55 + 15 - 3
    assert finding_specs(None, None) == (ABNORMAL_SLICE,)
