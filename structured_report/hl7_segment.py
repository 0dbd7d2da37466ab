"""One segment of an HL7 v2 message as text (HL7 v2.5.1 chapter 2.5 to 2.7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Component = str | tuple[str, ...]
"""Text, or subcomponents."""
Field = str | tuple[Component, ...] | list[tuple[Component, ...]]
"""Text, components, or repetitions of components."""

_MARKS = {"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\"}


def segment(name: str, fields: Mapping[int, Field]) -> str:
    """A segment of these fields by number; the header's own first two are the delimiters."""
    last = max(fields)
    texts = [_field(fields.get(number, "")) for number in range(3 if name == "MSH" else 1, last + 1)]
    return "|".join(["MSH", "^~\\&", *texts] if name == "MSH" else [name, *texts])


def _field(value: Field) -> str:
    if isinstance(value, str):
        return _escaped(value)
    if isinstance(value, list):
        return "~".join(map(_field, value))
    return "^".join(map(_component, value)).rstrip("^")


def _component(value: Component) -> str:
    parts: Sequence[str] = [value] if isinstance(value, str) else value
    return "&".join(map(_escaped, parts)).rstrip("&")


def _escaped(text: str) -> str:
    """Text between delimiters (chapter 2.7.1); line breaks become spaces, control characters are left out."""
    one_line = " ".join(text.split())
    return "".join(_MARKS.get(letter, letter) for letter in one_line if letter.isprintable())
