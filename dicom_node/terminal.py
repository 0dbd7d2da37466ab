"""Text for a terminal or a log: what strangers wrote into tags and file names stays text.

A terminal obeys control characters (C0, DEL, C1) and turns text around at bidirectional ones; JSON demands an
escape only for C0.
"""

from __future__ import annotations

import json
import sys


def printable(text: str) -> str:
    """The text with every character that is neither printable nor a line's end as JSON writes it, `\\u009b`.

    A JSON text stays the same JSON.
    """
    return "".join(item if item.isprintable() or item == "\n" else _escaped(item) for item in text)


def say(text: str, *, err: bool = False) -> None:
    """A line on standard output, or on standard error."""
    print(printable(text), file=sys.stderr if err else sys.stdout, flush=True)


def _escaped(character: str) -> str:
    escaped = json.dumps(character)[1:-1]
    return escaped if escaped != character else f"\\u{ord(character):04x}"
