"""The last warnings of the log, as the system page shows them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from dicom_node.log import work_on
from dicom_node.recent_trouble import MOST, RecentTrouble


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """One that hands nothing on, with its handlers taken off again."""
    with _apart("dicom_node.somewhere") as logger:
        yield logger


@contextmanager
def _apart(name: str) -> Iterator[logging.Logger]:
    logger = logging.getLogger(name)
    before, logger.propagate = logger.propagate, False
    try:
        yield logger
    finally:
        logger.handlers.clear()
        logger.propagate = before


def test_warnings_are_kept_with_their_key_and_without_what_an_exception_says(logger: logging.Logger) -> None:
    trouble = RecentTrouble()
    logger.addHandler(trouble)
    logger.info("nothing to see")
    with work_on("abc"):
        logger.warning("not delivered", extra={"fault": "PACS cannot be reached"})
        try:
            raise ValueError("Geheim^Niemand")
        except ValueError:
            logger.exception("failed")
    failed, warned = trouble.newest_first
    assert (warned.message, warned.fault, warned.key, warned.severe) == (
        "not delivered", "PACS cannot be reached", "abc", False,
    )  # fmt: skip
    assert (failed.message, failed.key, failed.severe) == ("failed", "abc", True)
    assert failed.fault.startswith("ValueError at ")
    assert "Geheim" not in repr(trouble.newest_first)


def test_only_the_last_are_kept_and_nothing_of_libraries_that_quote_tags() -> None:
    trouble = RecentTrouble()
    for name in ("dicom_node.somewhere", "pydicom.valuerep"):
        with _apart(name) as logger:
            logger.addHandler(trouble)
            for number in range(MOST + 5):
                logger.warning("%s %d", name, number)
    assert len(trouble.newest_first) == MOST
    assert trouble.newest_first[0].message == f"dicom_node.somewhere {MOST + 4}"
