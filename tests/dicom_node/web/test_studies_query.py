from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from dicom_node.web.page_route import PageError
from dicom_node.web.studies_query import StudiesQuery


def test_an_address_and_its_query_are_each_others_inverse() -> None:
    query = StudiesQuery("failing", "normal", date(2026, 3, 1), date(2026, 3, 2), "2.25", 3)
    address = query.address(page=3)
    assert address == "/?group=failing&verdict=normal&since=2026-03-01&until=2026-03-02&uid=2.25&page=3"
    values = dict(part.split("=") for part in address.partition("?")[2].split("&"))
    assert StudiesQuery.of(values) == query
    assert StudiesQuery.of({"group": "", "since": "", "page": ""}) == StudiesQuery()


def test_another_filter_begins_on_the_first_page() -> None:
    query = StudiesQuery(group="reported", page=4)
    assert query.address(group=None) == "/"
    assert query.address(group="refused") == "/?group=refused"
    assert query.narrowed
    assert not StudiesQuery(page=4).narrowed


def test_values_are_written_so_that_they_stay_values() -> None:
    assert StudiesQuery(uid='"><script>&group=failing').address() == (
        "/?uid=%22%3E%3Cscript%3E%26group%3Dfailing"
    )


def test_days_are_those_of_the_site_and_the_last_one_is_included() -> None:
    wanted = StudiesQuery(since=date(2026, 3, 29), until=date(2026, 3, 29)).filter(ZoneInfo("Europe/Berlin"))
    assert wanted.since == datetime(2026, 3, 28, 23, tzinfo=UTC)
    assert wanted.before == datetime(2026, 3, 29, 22, tzinfo=UTC)  # the clock was put forward on that day


@pytest.mark.parametrize(
    "values",
    [{"group": "all"}, {"verdict": "sick"}, {"since": "1.3.2026"}, {"until": "9999-12-31"}, {"page": "two"}],
)
def test_a_value_that_does_not_fit_is_an_error_of_the_caller(values: dict[str, str]) -> None:
    with pytest.raises(PageError) as caught:
        StudiesQuery.of(values)
    assert caught.value.status == 400
