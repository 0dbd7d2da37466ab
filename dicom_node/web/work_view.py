"""One key of work as its page shows it: how far it came, and what each destination got."""

from __future__ import annotations

from dataclasses import dataclass

from dicom_node.errors import Superseded
from dicom_node.ledger_records import DeliveryRecord, ObjectRecord, WorkRecord
from dicom_node.web.pages import Pages
from dicom_node.web.stage_bars import StageBar, stage_bars
from inference.study_result import StudyResult

_OVER = frozenset({"delivered", "none", "given_up", "stopped"})
"""States of a delivery in which nothing more happens by itself."""


@dataclass(frozen=True)
class DeliveryLine:
    """A destination: `words` say how its delivery stands, `button` what can be done ("" for nothing)."""

    destination: str
    state: str
    words: str
    tries: int
    objects: int
    error: str
    button: str


@dataclass(frozen=True)
class ObjectLine:
    """A DICOM object to download: `picture`, an image of its own; `document`, one that holds a PDF."""

    number: int
    kind: str
    words: str
    picture: bool
    document: bool


@dataclass(frozen=True)
class WorkView:
    """How far the work came."""

    record: WorkRecord
    refusal: str
    stages: list[StageBar]
    deliveries: list[DeliveryLine]
    settled: bool
    """Nothing more will happen by itself."""


def work_view(pages: Pages, record: WorkRecord, result: StudyResult | None) -> WorkView:
    """The view of a row of the ledger."""
    code = record.code or ""
    deliveries = _deliveries(pages, record)
    return WorkView(
        record=record,
        refusal=pages.words.known("refusal", code),
        stages=stage_bars(record.seconds, result.seconds if result is not None else {}, pages.words),
        deliveries=deliveries,
        settled=record.ended and all(item.state in _OVER for item in deliveries),
    )


def object_lines(pages: Pages, objects: list[ObjectRecord]) -> list[ObjectLine]:
    """The objects of a key in their order, but for those whose files a person removed."""
    return [
        ObjectLine(
            number=item.number,
            kind=item.kind,
            words=pages.words.known("object", item.kind),
            picture=item.kind == "sc",
            document=item.kind == "pdf",
        )
        for item in objects
        if item.path.exists()
    ]


def _deliveries(pages: Pages, record: WorkRecord) -> list[DeliveryLine]:
    """What every destination got: those of the settings, and those that are gone from them."""
    known = {item.destination: item for item in record.deliveries}
    configured = [item.name for item in pages.settings.destinations] if record.archived else []
    names = [*configured, *sorted(set(known) - set(configured))]
    return [_delivery(pages, record, name, known.get(name), name in configured) for name in names]


def _delivery(
    pages: Pages, record: WorkRecord, name: str, delivery: DeliveryRecord | None, configured: bool
) -> DeliveryLine:
    sendable = configured and pages.node.operations.can_send(record, name)
    state, words = _standing(pages, delivery)
    if delivery is None and not sendable:
        words = pages.words("study.delivery_nothing" if record.ended else "study.delivery_later")
    buttons = {"none": "send", "delivered": "send_again", "failing": "send_now", "given_up": "send_again"}
    able = sendable and state in buttons
    return DeliveryLine(
        destination=name,
        state=state,
        words=words,
        tries=delivery.attempts if delivery is not None else 0,
        objects=delivery.objects if delivery is not None else 0,
        error=(delivery.error or "") if delivery is not None else "",
        button=pages.words(f"study.{buttons[state]}") if able else "",
    )


def _standing(pages: Pages, delivery: DeliveryRecord | None) -> tuple[str, str]:
    if delivery is None:
        return "none", pages.words("study.delivery_none")
    if delivery.state == "delivered" and delivery.delivered_at is not None:
        return "delivered", pages.words("study.delivery_delivered", time=pages.moment(delivery.delivered_at))
    if delivery.state == "stopped":
        superseded = (delivery.error or "").startswith(f"{Superseded.code}:")
        return "stopped", pages.words(f"study.delivery_{'superseded' if superseded else 'stopped'}")
    if delivery.state == "failing":
        if delivery.next_attempt_at is None:
            return "given_up", pages.words("study.delivery_given_up")
        return "failing", pages.words("study.delivery_failing", time=pages.moment(delivery.next_attempt_at))
    return "queued", pages.words("study.delivery_queued")
