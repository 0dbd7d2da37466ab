"""The first 128 bytes of a DICOM file (PS3.10 section 7.1), which may make it a program as well."""

from __future__ import annotations

PREAMBLE_BYTES, PREFIX = 128, b"DICM"


def without_preamble(content: bytes) -> bytes:
    """The bytes of a file with nothing but zeros in its preamble; a file without one as it is.

    A preamble means nothing to DICOM, and can begin an executable whose code lies in a private element
    (CVE-2019-11687): what the node passes on is never both.
    """
    if content[PREAMBLE_BYTES : PREAMBLE_BYTES + len(PREFIX)] != PREFIX:
        return content
    return bytes(PREAMBLE_BYTES) + content[PREAMBLE_BYTES:]
