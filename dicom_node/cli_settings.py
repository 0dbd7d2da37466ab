"""The option `--settings`, which nearly every command has, and the settings that it leads to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dicom_node.cli_problems import failed
from dicom_node.settings import Settings
from dicom_node.settings_file import WRONG_SETTINGS, load_settings, words_of_wrong_settings

SettingsFile = Annotated[
    Path | None, typer.Option("--settings", help="TOML file; DICOM_NODE_* variables override it.")
]


def read_settings(file: Path | None) -> Settings:
    """The settings, or the end of the program with what is wrong in them."""
    try:
        return load_settings(file)
    except WRONG_SETTINGS as error:
        raise failed(words_of_wrong_settings(error)) from error
