"""A StudyResult and its source headers in, DICOM objects out; no network."""

from structured_report.attention import Attention
from structured_report.errors import CharacterSetError, ReportError, SourceEncodingError, SourceError
from structured_report.key_images import KeySliceImages
from structured_report.object_header import ObjectKind, PredecessorDocument, ReportContext, ReportObject
from structured_report.receivers import SR_CLASSES, in_character_set, in_sr_class
from structured_report.refused_study import RefusalKind, RefusedStudy, refusal_objects
from structured_report.report_objects import DEFAULT_KINDS, build_objects
from structured_report.segmentation import drawn_findings
from structured_report.summary_drawing import Overview

__all__ = [
    "DEFAULT_KINDS",
    "SR_CLASSES",
    "Attention",
    "CharacterSetError",
    "KeySliceImages",
    "ObjectKind",
    "Overview",
    "PredecessorDocument",
    "RefusalKind",
    "RefusedStudy",
    "ReportContext",
    "ReportError",
    "ReportObject",
    "SourceEncodingError",
    "SourceError",
    "build_objects",
    "drawn_findings",
    "in_character_set",
    "in_sr_class",
    "refusal_objects",
]
