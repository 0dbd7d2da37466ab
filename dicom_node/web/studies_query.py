"""What the list of studies is asked for, as it stands in its address."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta, tzinfo
from typing import Any, TypeVar, get_args
from urllib.parse import urlencode

from dicom_node.study_list import GROUPS, Group, StudyFilter
from dicom_node.web.page_route import PageError
from inference.study_result import Verdict

VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
_LONGEST_UID = 200
_Word = TypeVar("_Word", Group, Verdict)


@dataclass(frozen=True)
class StudiesQuery:
    """Filters and page; `uid` is a part of a Study Instance UID, dates are the site's and include `until`."""

    group: Group | None = None
    verdict: Verdict | None = None
    since: date | None = None
    until: date | None = None
    uid: str = ""
    page: int = 1

    @classmethod
    def of(cls, values: Mapping[str, str]) -> StudiesQuery:
        """The query of an address; an empty value is none, as forms send them.

        Raises
        ------
        PageError
            If a value does not fit.
        """
        try:
            return cls(
                group=_one_of(values.get("group"), GROUPS),
                verdict=_one_of(values.get("verdict"), VERDICTS),
                since=_date(values.get("since")),
                until=_date(values.get("until")),
                uid=values.get("uid", "").strip()[:_LONGEST_UID],
                page=max(int(values.get("page") or 1), 1),
            )
        except ValueError:
            raise PageError(400, "error.invalid") from None

    @property
    def narrowed(self) -> bool:
        """Whether anything but the page is asked for."""
        return replace(self, page=1) != StudiesQuery()

    def filter(self, zone: tzinfo) -> StudyFilter:
        """The filter of the ledger, days being those of a time zone."""

        def midnight(day: date) -> datetime:
            return datetime.combine(day, time(), zone)

        return StudyFilter(
            group=self.group,
            verdict=self.verdict,
            since=midnight(self.since) if self.since is not None else None,
            before=midnight(self.until + timedelta(days=1)) if self.until is not None else None,
            uid_part=self.uid,
        )

    def address(self, path: str = "/", **changes: Any) -> str:
        """The address of this query with changes; another filter begins on the first page."""
        changed = replace(self, **{"page": 1, **changes})
        values = {name: value for name, value in vars(changed).items() if value}
        if changed.page == 1:
            values.pop("page")
        return f"{path}?{urlencode(values)}" if values else path


def _one_of(value: str | None, words: tuple[_Word, ...]) -> _Word | None:
    if not value:
        return None
    for word in words:
        if word == value:
            return word
    raise ValueError(value)


def _date(value: str | None) -> date | None:
    found = date.fromisoformat(value) if value else None
    if found is not None and found.year not in range(1970, 9000):
        raise ValueError(value)  # beyond what a time zone can be asked about
    return found
