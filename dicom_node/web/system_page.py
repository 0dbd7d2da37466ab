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
    """A study or a delivery that fails; `key` leads to its page."""

    at: datetime
    key: str
    words: str
    error: str


def system_router(pages: Pages) -> APIRouter:
    """The page of the node, its live part, and the test of a destination."""
    router = APIRouter(route_class=page_route(pages), include_in_schema=False)

    @router.get("/system")
    def system(request: Request) -> Response:
        destinations = _destinations(pages)
        return pages.page(request, "system.html", destinations=destinations, echoes={}, **_state(pages))

    @router.get("/live/system")
    def live() -> Response:
        return pages.render("system_live.html", **_state(pages))

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
        return Echo(False, pages.words("system.echo_bad", problem=error))
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
    return pages.words("system.used_of", used=size(share.used), total=size(share.total))


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
        "size": size(float(statistics["TotalDiskSizeMB"]) * (1 << 20)),
    }


def _failing_studies(pages: Pages) -> list[ErrorLine]:
    failing = [record for record in pages.node.ledger.unfinished() if record.state == "failing"]
    newest = sorted(failing, key=lambda record: record.updated_at, reverse=True)[:_MOST_ERRORS]
    return [ErrorLine(item.updated_at, item.key, item.study_uid, item.error or "") for item in newest]


def _failing_deliveries(pages: Pages) -> list[ErrorLine]:
    due = pages.node.ledger.deliveries.due()
    failing = [(key, item) for key, item in due if item.state == "failing"][-_MOST_ERRORS:]
    return [
        ErrorLine(item.next_attempt_at or pages.now(), key, item.destination, item.error or "")
        for key, item in reversed(failing)
    ]
