"""`/`: the studies, newest first, with filters and search; the list follows the ledger by itself."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse

from dicom_node.errors import ArchiveError
from dicom_node.study_list import GROUPS, Group, StudyFilter, StudyPage
from dicom_node.web.page_route import page_route
from dicom_node.web.pages import Pages
from dicom_node.web.patient import Patient, patients, studies_by_number
from dicom_node.web.studies_query import VERDICTS, StudiesQuery
from dicom_node.web.study_lines import Line, line

A_PAGE = 50


@dataclass(frozen=True)
class StudiesList:
    """What the list shows: lines, and where it stands among all of them.

    `version` changes when anything in it does; `live` is the address to ask for it again, "" where it does
    not follow by itself. `patients_away`: patients are to be shown and the archive does not answer.
    `narrowed`: not all studies are asked for.
    """

    lines: tuple[Line, ...]
    first: int
    last: int
    total: int
    newer: str
    older: str
    version: str
    live: str
    with_patients: bool
    patients_away: bool
    counts: Mapping[Group, int]
    narrowed: bool


def studies_router(pages: Pages) -> APIRouter:
    """The list, its live part, and the search."""
    router = APIRouter(route_class=page_route(pages), include_in_schema=False)

    @router.get("/")
    def studies(request: Request) -> Response:
        query = StudiesQuery.of(request.query_params)
        found = pages.node.ledger.studies.page(query.filter(pages.zone), query.page, A_PAGE)
        if not found.entries and found.total:
            return RedirectResponse(query.address(page=-(-found.total // A_PAGE)), 303)
        counts = pages.node.ledger.studies.counts()
        return _page(pages, request, query, _listed(pages, query, found, counts))

    @router.get("/live/studies")
    def live(request: Request, v: str = "") -> Response:
        """The list alone; nothing where it is as it was."""
        query = StudiesQuery.of(request.query_params)
        found = pages.node.ledger.studies.page(query.filter(pages.zone), query.page, A_PAGE)
        counts = pages.node.ledger.studies.counts()
        if v == _version(pages, found, counts):
            return Response(status_code=204)
        listed = _listed(pages, query, found, counts)
        return pages.render("studies_live.html", list=listed, query=query, **_about(pages))

    @router.post("/find")
    def find(request: Request, text: Annotated[str, Form(max_length=200)] = "") -> Response:
        """By POST, since an accession number does not belong into an address."""
        wanted = text.strip()
        if not wanted:
            return RedirectResponse("/", 303)
        ledger = pages.node.ledger
        known: StudyPage | None = None
        if pages.settings.web.show_patient:
            uids = studies_by_number(pages.node.orthanc, wanted)
            known = ledger.studies.page(StudyFilter(uids=uids), 1, A_PAGE) if uids else None
        if known is None or not known.entries:
            known = ledger.studies.page(StudyFilter(uid_part=wanted), 1, A_PAGE)
            if known.total > 1:
                return RedirectResponse(StudiesQuery(uid=wanted).address(), 303)
        if known.total == 1 and known.entries[0].record.study_uid:
            return RedirectResponse(f"/study/{quote(known.entries[0].record.study_uid, safe='')}", 303)
        listed = _listed(pages, None, known, ledger.studies.counts())
        return _page(pages, request, StudiesQuery(), listed, searched=True)

    return router


def _page(
    pages: Pages, request: Request, query: StudiesQuery, listed: StudiesList, *, searched: bool = False
) -> Response:
    return pages.page(
        request,
        "studies.html",
        list=listed,
        query=query,
        verdicts=VERDICTS,
        searched=searched,
        search_numbers=pages.settings.web.show_patient,
        **_about(pages),
    )


def _about(pages: Pages) -> dict[str, Any]:
    """What the list names besides its studies."""
    return {"groups": GROUPS, "archive": pages.settings.orthanc}


def _listed(
    pages: Pages, query: StudiesQuery | None, found: StudyPage, counts: Mapping[Group, int]
) -> StudiesList:
    """The list of a page; `query` is None where it was found by a search that has no address."""
    who, away = _patients(pages, found)
    now = pages.now()
    first = ((query.page if query is not None else 1) - 1) * A_PAGE
    last = first + len(found.entries)
    version = _version(pages, found, counts)
    newer = older = live = ""
    if query is not None:
        newer = query.address(page=query.page - 1) if query.page > 1 else ""
        older = query.address(page=query.page + 1) if last < found.total else ""
        address = query.address("/live/studies", page=query.page)
        live = f"{address}{'&' if '?' in address else '?'}v={version}"
    return StudiesList(
        lines=tuple(line(pages, entry, who, now) for entry in found.entries),
        first=first + 1,
        last=last,
        total=found.total,
        newer=newer,
        older=older,
        version=version,
        live=live,
        with_patients=pages.settings.web.show_patient,
        patients_away=away,
        counts=counts,
        narrowed=query is None or query.narrowed,
    )


def _patients(pages: Pages, found: StudyPage) -> tuple[Mapping[str, Patient], bool]:
    """Who the studies are about, and whether that cannot be known now."""
    if not pages.settings.web.show_patient:
        return {}, False
    try:
        return patients(pages.node.orthanc, [entry.record.study_uid for entry in found.entries]), False
    except ArchiveError:
        return {}, True


def _version(pages: Pages, found: StudyPage, counts: Mapping[Group, int]) -> str:
    """A digest of what the ledger says, and of the time that has passed for what is in work."""
    now = pages.now()
    seen = [(line(pages, entry, {}, now), entry.record.updated_at) for entry in found.entries]
    text = repr((seen, found.total, counts))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
