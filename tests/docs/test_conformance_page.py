"""Every test that the page on conformance names is there."""

from __future__ import annotations

import re

import pytest

from tests.conftest import PROJECT

PAGE = (PROJECT / "docs" / "conformance.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE)))


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_a_named_test_exists(file: str, test: str) -> None:
    content = (PROJECT / file).read_text(encoding="utf-8")
    assert not test or f"\ndef {test}(" in content


def test_every_row_of_a_requirement_is_shown_or_says_no() -> None:
    section = PAGE.split("## IHE AI Results")[1].split("\n## ")[0]
    rows = [line.split("|")[1:3] for line in section.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 25
    for requirement, shown in rows:
        is_heading = requirement.strip().startswith("**") and not shown.strip()
        assert is_heading or "`tests/" in shown or shown.strip().startswith("no")
