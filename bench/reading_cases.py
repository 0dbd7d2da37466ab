"""Names of what is read by `python -m bench reading`; nothing here loads a library."""

from __future__ import annotations

from pathlib import Path

UNCOMPRESSED, ENHANCED, HEADERS = "uncompressed", "enhanced", "headers"
CODINGS = ("rle", "jpeg-lossless", "jpeg-ls", "jpeg-2000", "htj2k")

REAL = {"nlst-toshiba": Path("ct/nlst-toshiba"), "lung-dx-philips": Path("ct/lung-dx-a0001-philips")}
"""Real studies, and where they lie below the folder of test data."""

CASES = (UNCOMPRESSED, *CODINGS, ENHANCED, HEADERS, *REAL)
