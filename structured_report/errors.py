"""Why no report can be made; these are faults of the input to the report, not refusals of a study.

    ReportError
    ├── SourceError          the source headers do not belong to the result, or there are none
    ├── SourceEncodingError  text of the source header cannot be decoded without loss
    └── CharacterSetError    text of an object cannot be written in the character set that a receiver wants

Messages hold UIDs, tags and numbers, never a value of a patient's attribute.
"""

from __future__ import annotations


class ReportError(Exception):
    """No DICOM object can be made for a result."""


class SourceError(ReportError):
    """The source headers are absent (a NIfTI volume has none) or do not belong to the result."""


class SourceEncodingError(ReportError):
    """Text of the source cannot be decoded in its character set, and would be lost in the report."""


class CharacterSetError(ReportError):
    """Text of an object does not fit into the character set that it is to be written in."""
