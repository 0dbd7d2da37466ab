"""A StudyResult and its source headers in, DICOM objects out; no network."""

from structured_report.errors import ReportError, SourceEncodingError, SourceError
from structured_report.key_images import KeySliceImages
from structured_report.object_header import PredecessorDocument, ReportContext, ReportObject
from structured_report.report_objects import build_objects

__all__ = [
    "KeySliceImages",
    "PredecessorDocument",
    "ReportContext",
    "ReportError",
    "ReportObject",
    "SourceEncodingError",
    "SourceError",
    "build_objects",
]
