"""How a process comes by its settings, from environment and TOML file, and what is wrong in them in words."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

from pydantic import ValidationError
from pydantic_settings import SettingsConfigDict, SettingsError

from dicom_node.errors import NodeError
from dicom_node.settings import Settings

WRONG_SETTINGS = (
    NodeError,
    OSError,
    SettingsError,
    UnicodeDecodeError,
    ValidationError,
    tomllib.TOMLDecodeError,
)
"""What `load_settings` may raise."""


def load_settings(file: Path | None = None) -> Settings:
    """The tree from the environment and `file` (or the file that `DICOM_NODE_SETTINGS` names).

    Raises
    ------
    FileNotFoundError
        If a file is named and absent: a node must not start on defaults that nobody chose.
    OSError, UnicodeDecodeError, tomllib.TOMLDecodeError
        If the file cannot be read, or is not TOML.
    SettingsError
        If a variable is not of the form that its key wants.
    pydantic.ValidationError
        If a key is unknown or a value does not fit.
    SiteProblem
        If a file that holds a secret cannot be read.
    """
    named = file or os.environ.get("DICOM_NODE_SETTINGS")
    if not named:
        return Settings()
    if not Path(named).is_file():
        raise FileNotFoundError(f"settings file not found: {named}")

    class FromFile(Settings):  # and not through the environment, which outlives this call
        model_config = SettingsConfigDict(toml_file=named)

    return FromFile()


def words_of_wrong_settings(error: Exception) -> str:
    """What is wrong, a line for each key, where `load_settings` raised one of `WRONG_SETTINGS`."""
    if isinstance(error, FileNotFoundError | NodeError | SettingsError):
        return str(error)
    if isinstance(error, tomllib.TOMLDecodeError):
        return f"the settings file is not TOML: {error}"
    if isinstance(error, ValidationError):
        # Where and what, not the value: it may be a secret.
        return "\n".join(
            f"{'.'.join(map(str, item['loc'])) or 'settings'}: {item['msg']}" for item in error.errors()
        )
    return f"the settings file cannot be read: {type(error).__name__}"
