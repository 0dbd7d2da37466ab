"""A study's DICOM in, a `StudyResult` out. No network, no DICOM written."""
