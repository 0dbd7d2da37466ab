"""`dicom-node viewer`: the viewer's files onto this machine."""

# ruff: noqa: PLC0415 - commands import what they need when they run
from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dicom_node.cli_problems import problems_in_words
from dicom_node.cli_settings import SettingsFile, read_settings

app = typer.Typer(help="The viewer at /viewer.", no_args_is_help=True)


@app.callback()
def viewer() -> None:
    """The viewer at /viewer."""


@app.command()
def install(
    tarball: Annotated[
        Path | None,
        typer.Option("--from", help="The package as a file, for a machine without npm.", metavar="FILE.tgz"),
    ] = None,
    settings: SettingsFile = None,
) -> None:
    """Fetch the viewer with npm, check it, and unpack it into viewer.folder; nothing if it is there."""
    from dicom_node.viewer.install import install as install_package
    from dicom_node.viewer.install import installed_package
    from dicom_node.viewer.package import OHIF

    folder = read_settings(settings).viewer.folder
    with problems_in_words():
        if installed_package(folder) == OHIF.integrity:
            typer.echo(f"{OHIF.specifier} is in {folder}")
            return
        install_package(OHIF, folder, tarball)
    typer.echo(f"{OHIF.specifier} installed into {folder}")
