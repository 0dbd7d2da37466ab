"""What every section of the settings is made of: its base, and the values that several sections have."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

AETitle = Annotated[
    str, Field(min_length=1, max_length=16, pattern=r"^[\x21-\x5b\x5d-\x7e][\x20-\x5b\x5d-\x7e]*$")
]
"""PS3.5 Table 6.2-1: at most 16 characters of the default repertoire, no backslash, no leading space."""
ObjectKind = Literal["sr", "sc", "kos", "seg", "pm", "pdf"]
"""Structured report, secondary captures, key object selection, segmentation, parametric maps, PDF."""
Port = Annotated[int, Field(ge=1, le=65535)]


class Section(BaseModel):
    """A part of the tree: immutable, and a misspelt key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")
