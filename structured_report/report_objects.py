"""The DICOM objects of one study's result: the structured report first, then what stands beside it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from PIL import Image
from pydicom.dataset import Dataset

from inference.study_result import StudyResult
from structured_report.attention import Attention
from structured_report.encapsulated_pdf import encapsulated_pdf
from structured_report.errors import ReportError
from structured_report.key_images import KeySliceImages, key_images
from structured_report.key_object_selection import key_object_selection
from structured_report.measurement_report import measurement_report
from structured_report.object_header import ObjectKind, ReportContext, ReportObject, report_basis
from structured_report.parametric_map import parametric_maps
from structured_report.segmentation import segmentation
from structured_report.source import read_source
from structured_report.summary_drawing import Overview
from structured_report.summary_page import summary_pages

DEFAULT_KINDS: tuple[ObjectKind, ...] = ("sr", "sc")


def build_objects(
    result: StudyResult,
    sources: Sequence[Dataset],
    slices: KeySliceImages,
    context: ReportContext,
    *,
    attention: Sequence[Attention] = (),
    overview: Overview | None = None,
    kinds: Collection[ObjectKind] = DEFAULT_KINDS,
) -> list[ReportObject]:
    """Every object that a result makes; the same arguments give the same bytes.

    Parameters
    ----------
    result
        The answer about the study; its key of work is what the objects' UIDs derive from.
    sources
        Headers (no pixels) of the analysed instances, in slice order, in any transfer syntax.
    slices
        Pixels of the key slices.
    context
        What the installation adds.
    attention
        Where the algorithm looked for each located finding, for a segmentation or parametric maps.
    overview
        A coronal plane for the summary page.
    kinds
        Which objects are wanted.

    Raises
    ------
    ReportError
        If the result has no key; SourceError if the headers are absent or are not the analysed instances;
        SourceEncodingError if they hold text that would be lost.
    """
    if not result.key:
        raise ReportError("a result without a key of work has no UIDs for objects")
    basis = report_basis(result, read_source(result, sources), context)
    objects: list[ReportObject] = []
    if "sr" in kinds:
        objects.append(measurement_report(basis))
    pictures: list[ReportObject] = []
    if {"sc", "pdf"} & set(kinds):
        images = key_images(basis, slices)
        pictures = [*images, *summary_pages(basis, overview, after=len(images))]
    if "sc" in kinds:
        objects += pictures
    if "kos" in kinds:
        objects.append(key_object_selection(basis))
    if "seg" in kinds:
        objects += segmentation(basis, attention)
    if "pm" in kinds:
        objects += parametric_maps(basis, attention)
    if "pdf" in kinds:
        objects.append(
            encapsulated_pdf(basis, [Image.fromarray(item.dataset.pixel_array) for item in pictures])
        )
    return objects
