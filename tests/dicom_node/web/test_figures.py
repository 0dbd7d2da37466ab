from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from dicom_node.web.figures import duration, full_moment, grouped, minus, moment, short_uid, size
from dicom_node.web.words import Words

MOSCOW = ZoneInfo("Europe/Moscow")


def test_moments_are_the_sites_and_have_a_date_unless_it_is_today() -> None:
    when = datetime(2026, 3, 1, 22, 15, 5, tzinfo=UTC)
    english, russian = Words("en"), Words("ru")
    assert moment(when, MOSCOW, english, now=when + timedelta(hours=1)) == "01:15:05"
    assert moment(when, MOSCOW, english, now=when + timedelta(days=1)) == "2026-03-02 01:15"
    assert full_moment(when, MOSCOW, english) == "2026-03-02 01:15:05 +0300"
    assert moment(when, MOSCOW, russian, now=when + timedelta(days=1)) == "02.03.2026 01:15"
    assert full_moment(when, MOSCOW, russian) == "02.03.2026 01:15:05 +0300"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-3, "0 s"), (59.9, "59 s"), (60, "1 min"), (3599, "59 min"), (3660, "1 h 1 min"), (90000, "1 d 1 h")],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(timedelta(seconds=seconds), Words("en")) == words


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 B"), (1500, "1.5 kB"), (25e9, "25 GB"), (2.5e12, "2.5 TB")]
)
def test_sizes(count: float, words: str) -> None:
    assert size(count, Words("en")) == words
    assert size(25e9, Words("ru")) == "25 ГБ"


def test_numbers_have_a_true_minus_and_thousands_apart() -> None:
    assert minus(-0.125, "+.2f") == "\N{MINUS SIGN}0.12"
    assert grouped(-3216.44) == "\N{MINUS SIGN}3\N{NARROW NO-BREAK SPACE}216.4"


def test_a_long_uid_keeps_both_ends() -> None:
    assert short_uid("1.2.3") == "1.2.3"
    assert short_uid("2.25.1234567890123456789012345") == "2.25.12345…6789012345"
