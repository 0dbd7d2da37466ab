"""The DICOM objects of one study's result: the structured report first, then its key images."""

from __future__ import annotations

from collections.abc import Sequence

from pydicom.dataset import Dataset

from inference.study_result import StudyResult
from structured_report.errors import ReportError
from structured_report.key_images import KeySliceImages, key_images
from structured_report.measurement_report import measurement_report
from structured_report.object_header import ReportContext, ReportObject, report_basis
from structured_report.source import read_source


def build_objects(
    result: StudyResult, sources: Sequence[Dataset], slices: KeySliceImages, context: ReportContext
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

    Raises
    ------
    ReportError
        If the result has no key; SourceError if the headers are absent or are not the analysed instances;
        SourceEncodingError if they hold text that would be lost.
    """
    if not result.key:
        raise ReportError("a result without a key of work has no UIDs for objects")
    basis = report_basis(result, read_source(result, sources), context)
    return [measurement_report(basis), *key_images(basis, slices)]
