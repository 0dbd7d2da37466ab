"""`/work/{key}`: one study's answer and its way; `/study/{uid}`: the newest work on a study."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Form, Path, Query, Request, Response
from fastapi.responses import RedirectResponse

from dicom_node.errors import ArchiveError
from dicom_node.ledger_records import WorkRecord
from dicom_node.log import work_on
from dicom_node.operations import NothingToSend
from dicom_node.slice_places import SliceUnavailable
from dicom_node.viewer.config import viewer_link
from dicom_node.web.answer_view import AnswerView, answer_view
from dicom_node.web.figures import duration
from dicom_node.web.page_route import not_found, page_route
from dicom_node.web.pages import Pages
from dicom_node.web.patient import Patient, patients
from dicom_node.web.slice_image import WINDOWS
from dicom_node.web.work_view import object_lines, work_view
from inference.study_result import StudyResult
from inference.volume import Frame

log = logging.getLogger(__name__)

Key = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]
_MOST_EARLIER = 20


@dataclass(frozen=True)
class ShownSlice:
    """The slice and window that the page begins with; `window` is "own" where centre and width are given.

    `outlines`: whether it is drawn where the algorithm looked.
    """

    number: int
    window: str
    centre: float
    width: float
    outlines: bool


def study_router(pages: Pages) -> APIRouter:
    """The page of a study, its live part, and its buttons."""
    router = APIRouter(route_class=page_route(pages), include_in_schema=False)
    node = pages.node

    @router.get("/study/{study_uid}")
    def newest(study_uid: str) -> Response:
        records = node.ledger.recent(1, study_uid)
        if not records:
            raise not_found()
        return RedirectResponse(f"/work/{records[0].key}", 303)

    @router.get("/work/{key}")
    def study(
        request: Request,
        key: Key,
        *,
        number: Annotated[int | None, Query(alias="slice")] = None,
        window: str | None = None,
        centre: Annotated[float, Query(ge=-4096, le=4096)] = -600.0,
        width: Annotated[float, Query(ge=1, le=8192)] = 1500.0,
        outlines: bool = True,
    ) -> Response:
        record, result = _work(pages, key)
        answer = answer_view(result, _places(pages, record, result), pages.words) if result else None
        related = node.ledger.recent(_MOST_EARLIER, record.study_uid) if record.study_uid else [record]
        return pages.page(
            request,
            "study.html",
            view=work_view(pages, record, result),
            result=result,
            answer=answer,
            shown=_shown(answer, number, window, centre, width, outlines=outlines),
            windows=WINDOWS,
            objects=object_lines(pages, node.ledger.objects.of(key)),
            series=node.ledger.plan(key).decisions,
            newer=related[0] if related[0].key != key else None,
            earlier=[item for item in related if item.created_at < record.created_at],
            feedback=node.ledger.feedback.of(record.study_uid) if record.study_uid else [],
            viewer=_viewer(pages, record),
            analysed_at=datetime.fromisoformat(result.analysed_at) if result is not None else None,
            patient=_patient(pages, record),
            waiting=_waiting(pages, record),
            live=_live(pages, record, result),
        )

    @router.get("/live/work/{key}")
    def live(key: Key, v: str = "") -> Response:
        """What goes on; nothing where that is as it was, the whole page anew when the work has ended."""
        record, result = _work(pages, key)
        version = _version(pages, record, result)
        if v == version:
            return Response(status_code=204)
        if v.partition("-")[0] != version.partition("-")[0]:
            return Response(status_code=204, headers={"HX-Refresh": "true"})
        return pages.render(
            "study_live.html",
            view=work_view(pages, record, result),
            answered=result is not None,
            waiting=_waiting(pages, record),
            live=_live(pages, record, result),
        )

    @router.post("/work/{key}/rerun")
    def rerun(key: Key) -> Response:
        record, _ = _work(pages, key)
        if record.orthanc_id is None:
            raise not_found()
        with work_on(key):
            log.info("to be analysed again, as a person asks")
        return RedirectResponse(f"/work/{node.rerun(key)}", 303)

    @router.post("/work/{key}/try-now")
    def try_now(key: Key) -> Response:
        _work(pages, key)
        node.operations.try_now(key)
        return RedirectResponse(f"/work/{key}", 303)

    @router.post("/work/{key}/send")
    def send(key: Key, destination: Annotated[str, Form(max_length=64)]) -> Response:
        _work(pages, key)
        try:
            node.operations.send_again(key, destination)
        except (KeyError, NothingToSend):
            raise not_found() from None
        return RedirectResponse(f"/work/{key}#deliveries", 303)

    return router


def _work(pages: Pages, key: str) -> tuple[WorkRecord, StudyResult | None]:
    """The row of a key and, once it is reported, its answer, if a person has not removed it meanwhile."""
    record = pages.node.ledger.work(key)
    if record is None:
        raise not_found()
    if record.state != "reported":
        return record, None
    try:
        return record, pages.node.result(key)
    except KeyError:
        return record, None


def _places(pages: Pages, record: WorkRecord, result: StudyResult) -> Sequence[Frame]:
    """The images of the slices that can be shown; none of an upload, and while the archive cannot tell."""
    if record.orthanc_id is None:
        return ()
    try:
        return pages.node.slices.places(result)
    except (ArchiveError, SliceUnavailable):
        return ()


def _shown(
    answer: AnswerView | None,
    number: int | None,
    window: str | None,
    centre: float,
    width: float,
    *,
    outlines: bool,
) -> ShownSlice | None:
    if answer is None or not answer.slices:
        return None
    wanted = min(max(number or answer.slice_number, 1), answer.slices)
    if window == "own":
        return ShownSlice(wanted, "own", centre, width, outlines)
    name = window if window is not None and window in WINDOWS else answer.window
    return ShownSlice(wanted, name, WINDOWS[name].centre, WINDOWS[name].width, outlines)


def _viewer(pages: Pages, record: WorkRecord) -> str:
    """Where the viewer shows the study; "" for one outside the archive and where there is no viewer."""
    if record.orthanc_id is None or not pages.settings.viewer.enabled:
        return ""
    return viewer_link(record.study_uid)


def _patient(pages: Pages, record: WorkRecord) -> Patient | None:
    if not pages.settings.web.show_patient:
        return None
    try:
        return patients(pages.node.orthanc, [record.study_uid]).get(record.study_uid)
    except ArchiveError:
        return None  # the frame of the page says that the archive is away


def _waiting(pages: Pages, record: WorkRecord) -> str:
    now = pages.now()
    return duration((record.ended_at or now) - record.created_at, pages.words)


def _live(pages: Pages, record: WorkRecord, result: StudyResult | None) -> str:
    """Where to ask for what goes on; "" where nothing does."""
    if work_view(pages, record, result).settled:
        return ""
    return f"/live/work/{record.key}?v={_version(pages, record, result)}"


def _version(pages: Pages, record: WorkRecord, result: StudyResult | None) -> str:
    """Whether the work has ended, and a digest of all that the live part shows."""
    shown = (work_view(pages, record, result), _waiting(pages, record))
    digest = hashlib.sha256(repr(shown).encode()).hexdigest()[:16]
    return f"{'ended' if record.ended else 'open'}-{digest}"
