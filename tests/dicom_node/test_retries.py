"""Attempts that follow one another: the pauses between them, and the ids of their runs."""

from __future__ import annotations

import pytest

from dicom_node.retries import pause_s, run_id


@pytest.mark.parametrize(("turn", "run"), [(0, "key:pacs"), (1, "key:pacs.1"), (12, "key:pacs.12")])
def test_ids_are_those_under_which_earlier_versions_stored_their_runs(turn: int, run: str) -> None:
    assert run_id("key:pacs", turn) == run


@pytest.mark.parametrize(("failures", "pause"), [(1, 5), (2, 10), (3, 20), (9, 900), (1000, 900)])
def test_pause_grows_up_to_the_longest(failures: int, pause: float) -> None:
    assert pause_s(failures, 5, 900) == pause
