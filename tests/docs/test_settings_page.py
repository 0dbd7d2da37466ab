"""docs/settings.md names every setting with its default."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from dicom_node.settings import Settings

PROJECT = Path(__file__).resolve().parents[2]
PAGE = PROJECT / "docs/settings.md"


def _settings(model: type[BaseModel], prefix: str = "") -> dict[str, Any]:
    """Dotted names of all settings below a section, with their defaults (`PydanticUndefined`: required)."""
    found: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        sections = list(_sections(field.annotation))
        for section in sections:
            # What several kinds of a section share is one row, with the default of the first kind.
            found = _settings(section, f"{prefix}{name}.") | found
        if not sections:
            found[f"{prefix}{name}"] = field.default
    return found


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    """The sections that a setting is made of, however deep in its annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _sections(part)


def _in_words(default: Any) -> str:
    if default is PydanticUndefined:
        return "required"
    if default is None:
        return "none"
    if isinstance(default, tuple):
        default = tuple(map(str, default))  # an enumeration's members by their values
    if isinstance(default, Path) and default.is_absolute():
        return f"the project's `{default.relative_to(PROJECT)}`"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`" if default != "" else "empty"


def test_every_setting_is_there_with_its_default() -> None:
    rows = [line.split(" | ") for line in PAGE.read_text(encoding="utf-8").splitlines()]
    written = {
        name: row[1].strip(" |")
        for row in rows
        if len(row) >= 2
        for name in re.findall(r"`([a-z_.]+)`", row[0])
    }
    assert {name: _in_words(default) for name, default in _settings(Settings).items()} == written


def test_no_setting_is_described_twice() -> None:
    rows = [line.partition(" | ")[0] for line in PAGE.read_text(encoding="utf-8").splitlines()]
    named = [row for row in rows if row.startswith("| ") and "`" in row]
    assert [row for row in named if named.count(row) > 1] == []
