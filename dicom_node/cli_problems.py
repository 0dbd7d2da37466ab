"""How a command ends where something is wrong: a sentence on standard error, exit code 1."""

# ruff: noqa: PLC0415 - commands import what they need when they run
from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from dicom_node.errors import NodeError, describe_fault
from dicom_node.terminal import say
from inference.errors import Refusal


def failed(words: str) -> typer.Exit:
    """Say `words` on standard error; the exit to raise."""
    say(words, err=True)
    return typer.Exit(1)


@contextmanager
def problems_in_words() -> Iterator[None]:
    """What is known to go wrong as one sentence, anything else as its type and place; exit code 1."""
    try:
        yield
    except (NodeError, Refusal, FileNotFoundError) as error:
        raise failed(str(error)) from error
    except typer.Exit:
        raise
    except Exception as error:
        raise failed(_words(error)) from error


def _words(error: Exception) -> str:
    from inference.fusion import FusionError
    from models.bundle import BundleError

    if isinstance(error, BundleError | FusionError):
        return str(error)
    logging.getLogger(__name__).error("fault", exc_info=error)
    return describe_fault(error)
