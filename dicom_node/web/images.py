"""Images and files of one study: its slices, its key images, its DICOM objects."""

from __future__ import annotations

import io
import json
import zipfile
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from PIL import Image
from pydicom import dcmread

from dicom_node.ledger_records import ObjectRecord
from dicom_node.slice_places import SliceUnavailable
from dicom_node.web.located import located_on
from dicom_node.web.page_route import PageError, not_found, page_route
from dicom_node.web.pages import Pages
from dicom_node.web.slice_image import WINDOWS, Window, slice_png
from inference.study_result import StudyResult
from structured_report.language import Words as ReportWords
from structured_report.pdf_document import pdf_document

Key = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]
Number = Annotated[int, Path(ge=0, le=100_000)]
_PNG = "image/png"


def images_router(pages: Pages) -> APIRouter:
    """Slices by their place from 1, objects by their number in the ledger."""
    router = APIRouter(prefix="/work/{key}", route_class=page_route(pages), include_in_schema=False)
    node = pages.node

    @router.get("/slices/{number}.png")
    def slice_image(
        key: Key,
        number: Number,
        *,
        window: str = "own",
        centre: Annotated[float, Query(ge=-4096, le=4096)] = -600.0,
        width: Annotated[float, Query(ge=1, le=8192)] = 1500.0,
        outlines: bool = False,
    ) -> Response:
        through = WINDOWS.get(window) or Window(centre, width)
        result = _result(pages, key)
        try:
            shown = node.slices.slice(result, number - 1)
        except IndexError:
            raise not_found() from None
        except SliceUnavailable as error:
            raise PageError(404, "error.slice", problem=pages.words.recorded(error).text) from None
        image = shown.plane.sop_instance_uid, shown.plane.frame_number
        polygons = [region.polygon for _, region in located_on(result, image)] if outlines else []
        return Response(slice_png(shown, through, polygons), media_type=_PNG)

    @router.get("/objects/{number}.png")
    def key_image(key: Key, number: Number) -> Response:
        item = _object(pages, key, number)
        if item.kind != "sc":
            raise not_found()
        stream = io.BytesIO()
        Image.fromarray(dcmread(item.path).pixel_array).save(stream, "PNG")
        return Response(stream.getvalue(), media_type=_PNG)

    @router.get("/objects/{number}.dcm")
    def dicom(key: Key, number: Number) -> Response:
        item = _object(pages, key, number)
        return _download(item.path.read_bytes(), "application/dicom", f"ai-{item.kind}-{number}.dcm")

    @router.get("/objects/{number}.pdf")
    def document(key: Key, number: Number) -> Response:
        item = _object(pages, key, number)
        dataset = dcmread(item.path)
        if "EncapsulatedDocument" not in dataset:
            raise not_found()
        # PS3.3 C.24.2: an odd length is padded; what the document really has, a later attribute says.
        length = dataset.get("EncapsulatedDocumentLength", len(dataset.EncapsulatedDocument))
        return _download(dataset.EncapsulatedDocument[:length], "application/pdf", f"ai-report-{number}.pdf")

    @router.get("/report.pdf")
    def report(key: Key) -> Response:
        """The document, made where no setting makes it an object; with the key images that there are."""
        result = _result(pages, key)
        pictures = [
            Image.fromarray(dcmread(item.path).pixel_array)
            for item in node.ledger.objects.of(key)
            if item.kind == "sc" and item.path.exists()
        ]
        when = datetime.fromisoformat(result.analysed_at).astimezone(pages.zone)
        words = ReportWords(pages.settings.report.language)
        return _download(pdf_document(result, when, words, pictures), "application/pdf", "ai-report.pdf")

    @router.get("/objects.zip")
    def everything(key: Key) -> Response:
        items = [item for item in node.ledger.objects.of(key) if item.path.exists()]
        if not items:
            raise not_found()
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            for item in items:
                archive.write(item.path, item.path.name)
        return _download(stream.getvalue(), "application/zip", "ai-objects.zip")

    @router.get("/result.json")
    def result(key: Key) -> Response:
        text = json.dumps(_result(pages, key).to_json(), ensure_ascii=False, indent=1)
        return _download(text.encode(), "application/json", "ai-result.json")

    return router


def _result(pages: Pages, key: str) -> StudyResult:
    record = pages.node.ledger.work(key)
    if record is None or record.state != "reported":
        raise not_found()
    try:
        return pages.node.result(key)
    except KeyError:
        raise not_found() from None


def _object(pages: Pages, key: str, number: int) -> ObjectRecord:
    for item in pages.node.ledger.objects.of(key):
        if item.number == number and item.path.exists():
            return item
    raise not_found()


def _download(content: bytes, media_type: str, name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(content, media_type=media_type, headers=headers)
