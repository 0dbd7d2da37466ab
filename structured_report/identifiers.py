"""UIDs that follow from what they identify: the same key gives the same objects on every attempt and machine.

All are UUID-derived UIDs (root 2.25, PS3.5 B.2) of name-based UUIDs (RFC 9562 version 5).
"""

from __future__ import annotations

import uuid

_NAMESPACE = uuid.UUID("6d6c2d43-9a0e-5f1b-8d55-0c3f1f6d1a7e")


def _derived(kind: str, *parts: str) -> str:
    name = "\x1f".join((kind, *parts))  # a separator no part can hold: ("a", "bc") is not ("ab", "c")
    return f"2.25.{uuid.uuid5(_NAMESPACE, name).int}"


def object_uid(key: str, sop_class_uid: str, number: int) -> str:
    """SOP Instance UID of object `number` (from 1) of a SOP class made for one key of work."""
    return _derived("object", key, sop_class_uid, str(number))


def series_uid(key: str, sop_class_uid: str) -> str:
    """Series Instance UID of the objects of one SOP class made for one key of work."""
    return _derived("series", key, sop_class_uid)


def dimension_uid(key: str, sop_class_uid: str, number: int) -> str:
    """Dimension Organization UID (0020,9164) of object `number` (from 1) of a SOP class made for one key."""
    return _derived("dimensions", key, sop_class_uid, str(number))


def tracking_uid(key: str, name: str) -> str:
    """Tracking Unique Identifier (112040, DCM) of one measurement group."""
    return _derived("tracking", key, name)


def device_uid(installation_uid: str, algorithm: str) -> str:
    """Device UID (0018,1002) of one algorithm in one installation; a new version is still the same device."""
    return _derived("device", installation_uid, algorithm)


IMPLEMENTATION_CLASS_UID = _derived("implementation", "dicom-node")
IMPLEMENTATION_VERSION_NAME = "DICOM_NODE"  # SH; without a version, which would change the bytes of a repeat
