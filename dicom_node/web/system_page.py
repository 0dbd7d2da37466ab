"""`/system`: how the node is, and a test of each destination."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request, Response

from dicom_node.errors import ArchiveError, SendError
from dicom_node.web.figures import duration, size
from dicom_node.web.machine import Share, look_at_machine
from dicom_node.web.page_route import not_found, page_route
from dicom_node.web.pages import Pages
from dicom_node.workers import SILENCE_S

LOW_DISK_PERCENT = 10
_MOST_ERRORS = 10


@dataclass(frozen=True)
class WorkerLine:
    """A process that does durable work."""

    name: str
    ago: str
    silent: bool


@dataclass(frozen=True)
class DestinationLine:
    """A destination and what waits for it."""

    name: str
    kind: str
    peer: str
    originals: bool
    waiting: int
    failing: int


@dataclass(frozen=True)
class Echo:
    """Outcome of a test: a C-ECHO, or a connection to an HL7 receiver."""

    good: bool
    words: str


@dataclass(frozen=True)
class ErrorLine:
    """A study that fails, or its delivery to a destination; `key` leads to its page."""

    key: str
    study_uid: str
    destination: str
    error: str
    next_try: str


def system_router(pages: Pages) -> APIRouter:
    """The page of the node, its live part, and the test of a destination."""
    router = APIRouter(route_class=page_route(pages), include_in_schema=False)

    @router.get("/system")
    def system(request: Request) -> Response:
        destinations = _destinations(pages)
        return pages.page(request, "system.html", destinations=destinations, echoes={}, **_state(pages))

    @router.get("/live/system")
    def live() -> Response:
        """Everything but the destinations, whose tests stay as they are; of those, what waits."""
        return pages.render("system_update.html", destinations=_destinations(pages), **_state(pages))

    @router.post("/system/echo")
    def echo(request: Request, destination: Annotated[str, Form(max_length=64)]) -> Response:
        outcome = _echo(pages, destination)
        if "hx-request" in request.headers:
            return pages.render("echo.html", echo=outcome)
        echoes = {destination: outcome}
        return pages.page(
            request, "system.html", destinations=_destinations(pages), echoes=echoes, **_state(pages)
        )

    return router


def _echo(pages: Pages, destination: str) -> Echo:
    try:
        seconds = pages.node.operations.echo(destination)
    except KeyError:
        raise not_found() from None
    except SendError as error:
        return Echo(False, pages.words("system.echo_bad", problem=pages.words.recorded(error).text))
    return Echo(True, pages.words("system.echo_good", ms=max(round(1000 * seconds), 1)))


def _destinations(pages: Pages) -> list[DestinationLine]:
    due = [delivery for _, delivery in pages.node.ledger.deliveries.due()]
    return [
        DestinationLine(
            name=item.name,
            kind=item.kind,
            peer=f"{item.aet if item.kind == 'dicom' else 'HL7'} · {item.host}:{item.port}",
            originals=item.wants_originals,
            waiting=sum(one.destination == item.name for one in due),
            failing=sum(one.destination == item.name and one.state == "failing" for one in due),
        )
        for item in pages.settings.destinations
    ]


def _state(pages: Pages) -> Mapping[str, Any]:
    """All that changes by itself."""
    node = pages.node
    machine = look_at_machine(pages.settings.data_folder, node.runtime.device)
    return {
        "health": node.health(),
        "counts": {state: count for state, count in node.ledger.counts().items() if count},
        "workers": _workers(pages),
        "runtime": node.runtime,
        "bundle": node.bundle,
        "machine": machine,
        "disk_low": machine.disk.free_percent < LOW_DISK_PERCENT,
        "low_percent": LOW_DISK_PERCENT,
        "used": lambda share: _used(pages, share),
        "archive": _archive(pages),
        "orthanc": pages.settings.orthanc,
        "failing_studies": _failing_studies(pages),
        "failing_deliveries": _failing_deliveries(pages),
        "trouble": node.trouble.newest_first[:_MOST_ERRORS],
    }


def _used(pages: Pages, share: Share) -> str:
    words = pages.words
    return words("system.used_of", used=size(share.used, words), total=size(share.total, words))


def _workers(pages: Pages) -> list[WorkerLine]:
    now = pages.now()
    return [
        WorkerLine(name, duration(now - at, pages.words), now - at > timedelta(seconds=SILENCE_S))
        for name, at in pages.node.ledger.workers.all()
    ]


def _archive(pages: Pages) -> Mapping[str, str] | None:
    """What Orthanc holds, None while it does not answer."""
    try:
        statistics = pages.node.orthanc.statistics()
    except ArchiveError:
        return None
    return {
        "studies": str(statistics["CountStudies"]),
        "images": str(statistics["CountInstances"]),
        "size": size(float(statistics["TotalDiskSizeMB"]) * (1 << 20), pages.words),
    }


def _failing_studies(pages: Pages) -> list[ErrorLine]:
    return [
        ErrorLine(item.key, item.study_uid, "", item.error or "", _next_try(pages, item.next_attempt_at))
        for item in pages.node.ledger.studies.retried(_MOST_ERRORS)
    ]


def _failing_deliveries(pages: Pages) -> list[ErrorLine]:
    due = pages.node.ledger.deliveries.due()
    failing = [(key, item) for key, item in due if item.state == "failing"][-_MOST_ERRORS:]
    return [
        ErrorLine(
            key=key,
            study_uid=pages.node.ledger.known(key).study_uid,
            destination=item.destination,
            error=item.error or "",
            next_try=_next_try(pages, item.next_attempt_at),
        )
        for key, item in reversed(failing)
    ]


def _next_try(pages: Pages, moment: datetime | None) -> str:
    return pages.words("studies.next_try", time=pages.moment(moment)) if moment is not None else ""
