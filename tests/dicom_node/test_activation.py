"""The file that says which bundle is asked for and which is in use."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dicom_node.activation import (
    FILE,
    ActivationBook,
    BundleChoice,
    bundle_name,
    folder_in_use,
)
from dicom_node.errors import SiteProblem
from dicom_node.settings import Settings, WorkerSettings

A, B, C = (BundleChoice(name, name * 64) for name in "abc")


def test_request_is_pending_until_the_node_has_switched_and_can_be_taken_back(tmp_path: Path) -> None:
    book = ActivationBook(tmp_path / "data")
    assert book.read() is None
    first = book.request(B, A)
    assert (first.requested, first.in_use, first.previous, first.pending) == (B, A, None, True)
    assert first.taken_back == A
    book.switched(B)
    now = book.read()
    assert now is not None
    assert (now.in_use, now.previous, now.pending, now.taken_back) == (B, A, False, A)
    assert json.loads((tmp_path / "data" / FILE).read_text())["in_use"] == {"name": "b", "digest": "b" * 64}
    back = book.request(A, C)
    assert (back.requested, back.in_use, back.pending) == (A, B, True)


def test_refusal_is_of_the_request_it_was_about(tmp_path: Path) -> None:
    book = ActivationBook(tmp_path)
    book.request(B, A)
    book.request(C, A)
    book.refused(B, "too late")
    now = book.read()
    assert now is not None
    assert (now.requested, now.refused, now.pending) == (C, None, True)
    book.refused(C, "not usable")
    now = book.read()
    assert now is not None
    assert (now.in_use, now.refused, now.pending) == (A, "not usable", False)
    assert book.request(C, A).pending


def test_file_that_says_nothing_is_a_problem_in_words_until_a_request_replaces_it(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("{")
    book = ActivationBook(tmp_path)
    with pytest.raises(SiteProblem, match=FILE):
        book.read()
    assert book.request(B, A).pending
    assert sorted(path.name for path in tmp_path.iterdir()) == [FILE, "active_bundle.lock"]


def test_activated_bundle_wins_over_the_setting(tmp_path: Path) -> None:
    shelf = tmp_path / "bundles"
    settings = Settings(
        data_folder=tmp_path / "data", worker=WorkerSettings(bundle="a", bundles_folder=shelf)
    )
    assert folder_in_use(settings) == shelf / "a"
    book = ActivationBook(settings.data_folder)
    book.request(B, A)
    assert folder_in_use(settings) == shelf / "a"
    book.switched(B)
    assert folder_in_use(settings) == shelf / "b"
    elsewhere = BundleChoice(bundle_name(settings, tmp_path / "other" / "c"), "c" * 64)
    book.switched(elsewhere)
    assert folder_in_use(settings) == tmp_path / "other" / "c"
    assert bundle_name(settings, shelf / "a") == "a"
