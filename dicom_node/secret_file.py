"""A secret of the settings, which a file may hold, so that neither environment nor command line needs to."""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr

from dicom_node.errors import SiteProblem


def read_secret(value: SecretStr | None, file: Path | None) -> str | None:
    """A secret given as a value or as a file's content; the file wins, and an empty value is none.

    Raises
    ------
    SiteProblem
        If the file cannot be read or is empty: an empty secret would let everybody in.
    """
    if file is None:
        return (value.get_secret_value() or None) if value is not None else None
    try:
        secret = file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SiteProblem(f"the secret file {file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SiteProblem(f"the secret file {file} is not text") from error
    if not secret:
        raise SiteProblem(f"the secret file {file} is empty")
    return secret
