"""The report as a document to be printed or read where no viewer knows structured reports: A4 pages as PDF.

No patient's identity is on the pages; it stands in the DICOM object that holds them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

from fontTools.ttLib import TTFont  # type: ignore[import-untyped]
from fontTools.varLib.instancer import instantiateVariableFont  # type: ignore[import-untyped]
from fpdf import FPDF
from fpdf.fonts import FontFace
from PIL import Image

from inference.study_result import StudyResult
from structured_report.conclusion import conclusion, weightiest
from structured_report.key_images import study_state
from structured_report.language import Words
from structured_report.lettering import FONT
from structured_report.percentage import percentage
from structured_report.provenance import computed_by
from structured_report.reading_order import in_reading_order

_FAMILY = "plex"
_WEIGHTS = {"": 400, "B": 600}
_AMBER, _GREY, _RULE = (255, 191, 64), (90, 90, 90), (190, 190, 190)
# Kerning and ligatures, which the document is set without; nearly all the work on the font would be theirs.
_LAYOUT = ("GSUB", "GPOS", "GDEF")
_MARGIN_MM, _IMAGE_MM = 18.0, 82.0


def pdf_document(result: StudyResult, when: datetime, words: Words, images: Sequence[Image.Image]) -> bytes:
    """The document, the key `images` (RGB) at its end; the same arguments give the same bytes.

    `when` is the time of the analysis in the zone in which it is to be written.
    """
    with TemporaryDirectory() as folder:
        return _written(_document(result, when, words, Path(folder)), result, when, words, images)


def _written(
    document: FPDF, result: StudyResult, when: datetime, words: Words, images: Sequence[Image.Image]
) -> bytes:
    document.set_font(_FAMILY, "B", 17)
    document.multi_cell(0, 8, words.sentence("summary"), new_x="LMARGIN", new_y="NEXT")
    document.set_font(_FAMILY, "", 10)
    document.set_text_color(*_GREY)
    written = when.strftime(f"{words.sentence('date')} %H:%M %z")
    document.multi_cell(0, 5, written, new_x="LMARGIN", new_y="NEXT")
    document.set_text_color(0)
    _paragraphs(document, [conclusion(result, words), *weightiest(result, words)])
    _findings(document, result, words)
    _measurements(document, result, words)
    _paragraphs(document, [words.of_analysis(text).text for text in result.warnings])
    _images(document, images)
    document.set_text_color(*_GREY)
    _paragraphs(document, [computed_by(result, words), words.sentence("not_verified")])
    return bytes(document.output())


class _Document(FPDF):
    """A4 with the notice of a demonstration at the top of every page, and numbers at the bottom."""

    def __init__(self, notice: str, state: str) -> None:
        super().__init__(format="A4", unit="mm")
        self._notice, self._state = notice, state

    def header(self) -> None:
        """The notice."""
        if self._notice:
            self.set_font(_FAMILY, "B", 11)
            self.set_fill_color(*_AMBER)
            self.cell(0, 8, self._notice, align="C", fill=True, new_x="LMARGIN", new_y="NEXT")
            self.ln(3)

    def footer(self) -> None:
        """The study's state, and the number of the page."""
        self.set_y(-14)
        self.set_font(_FAMILY, "", 8)
        self.set_text_color(*_GREY)
        self.cell(0, 6, f"{self._state}    {self.page_no()} / {{nb}}", align="R")
        self.set_text_color(0)


def _document(result: StudyResult, when: datetime, words: Words, folder: Path) -> _Document:
    notice = words.sentence("demonstration") if result.bundle.demonstration else ""
    document = _Document(notice, study_state(result, words))
    document.set_creation_date(when)
    document.set_title(words.sentence("summary"))
    document.set_lang(words.language)
    document.set_margins(_MARGIN_MM, 14, _MARGIN_MM)
    document.set_auto_page_break(auto=True, margin=18)
    for style, weight in _WEIGHTS.items():
        file = folder / f"{weight}.ttf"
        file.write_bytes(_font_of_weight(weight))
        document.add_font(_FAMILY, style, str(file))
    document.add_page()
    return document


@cache
def _font_of_weight(weight: int) -> bytes:
    """The variable font at one weight, the same bytes in every process."""
    font = TTFont(str(FONT), recalcTimestamp=False)
    for table in _LAYOUT:
        del font[table]
    font = instantiateVariableFont(font, {"wght": weight, "wdth": 100})
    with BytesIO() as buffer:
        font.save(buffer)
        return buffer.getvalue()


def _paragraphs(document: FPDF, texts: Sequence[str]) -> None:
    for text in texts:
        document.ln(2)
        document.set_font(_FAMILY, "", 10)
        document.multi_cell(0, 5, text, align="L", new_x="LMARGIN", new_y="NEXT")


def _findings(document: FPDF, result: StudyResult, words: Words) -> None:
    heads = ("finding_name", "probability_name", "threshold_name", "slice_name")
    document.ln(4)
    document.set_font(_FAMILY, "", 9)
    with document.table(
        col_widths=(52, 18, 18, 12),
        text_align=("LEFT", "RIGHT", "RIGHT", "RIGHT"),
        headings_style=FontFace(emphasis="BOLD"),
        borders_layout="HORIZONTAL_LINES",
        line_height=5.2,
    ) as table:
        table.row([words.sentence(key) for key in heads])
        for finding in in_reading_order(result.findings):
            name = words.finding(finding.name)
            if finding.laterality is not None:
                name = words.sentence(f"side_{finding.laterality}", finding=name)
            best = finding.best_slice
            cells = (
                name,
                f"{percentage(finding.probability, finding.operating_point)} %",
                f"{100 * finding.operating_point:.1f} %",
                "" if best is None or not finding.present else str(best.index + 1),
            )
            style = FontFace(emphasis="BOLD") if finding.present else FontFace(color=_GREY)
            table.row(cells, style=style)


def _measurements(document: FPDF, result: StudyResult, words: Words) -> None:
    if not result.measurements:
        return
    document.ln(4)
    document.set_font(_FAMILY, "", 9)
    with document.table(
        col_widths=(34, 18, 48),
        text_align=("LEFT", "RIGHT", "LEFT"),
        first_row_as_headings=False,
        borders_layout="HORIZONTAL_LINES",
        line_height=4.6,
    ) as table:
        for item in result.measurements:
            value = f"{item.value:.1f} {words.unit(item.unit)}"
            table.row((words.finding(item.name), value, words.of_analysis(item.method).text))


def _images(document: FPDF, images: Sequence[Image.Image]) -> None:
    """Two beside each other, as wide as they go."""
    left, top, tallest = _MARGIN_MM, 0.0, 0.0
    for number, image in enumerate(images):
        height = _IMAGE_MM * image.height / image.width
        if number % 2 == 0:
            document.ln(4 + tallest)
            pair = images[number : number + 2]
            tallest = max(_IMAGE_MM * item.height / item.width for item in pair)
            if document.will_page_break(tallest):
                document.add_page()
            left, top = _MARGIN_MM, document.get_y()
        document.image(image, x=left, y=top, w=_IMAGE_MM, h=height)
        left += _IMAGE_MM + 8
    document.ln(4 + tallest)
