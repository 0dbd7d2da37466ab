"""The alterations know the formats: a good part of what they make is still read, and all of it differs."""

from __future__ import annotations

from random import Random

import pytest

from fuzz import dicom_tree
from fuzz.http_request import parse_request
from fuzz.in_process import reading_in_process
from fuzz.seeds import instances, requests
from fuzz.targets import NAMES, load


@pytest.mark.parametrize("content", instances(), ids=lambda content: dicom_tree.parse(content).syntax)
def test_a_tree_is_written_as_it_was_read(content: bytes) -> None:
    file = dicom_tree.parse(content)
    again = dicom_tree.parse(dicom_tree.write(file))
    assert again == file
    if file.syntax != dicom_tree.NATIVE[-1]:  # deflated by another hand it has other bytes
        assert dicom_tree.write(file) == content


@pytest.mark.parametrize("content", requests())
def test_a_request_is_written_as_it_was_read(content: bytes) -> None:
    assert parse_request(content).to_bytes() == content


@pytest.mark.parametrize("name", NAMES)
def test_an_alteration_alters_and_can_be_made_again(name: str) -> None:
    target = load(name)
    made = [target.mutate(seed, Random(number)) for number, seed in enumerate(target.seeds() * 3)]
    again = [target.mutate(seed, Random(number)) for number, seed in enumerate(target.seeds() * 3)]
    assert made == again
    changed = sum(one != seed for one, seed in zip(made, target.seeds() * 3, strict=True))
    assert changed > 0.7 * len(made)


@pytest.mark.parametrize(
    ("name", "read"), [("archive", {"unpacked"}), ("instance", {"header"}), ("nifti", {"lungs", "no lungs"})]
)
def test_many_alterations_leave_something_to_read(name: str, read: set[str]) -> None:
    target, rng = load(name), Random(1)
    with reading_in_process():
        outcomes = [target.run(target.mutate(rng.choice(target.seeds()), rng)) for _ in range(60)]
    assert sum(outcome.partition(",")[0] in read for outcome in outcomes) > 12
