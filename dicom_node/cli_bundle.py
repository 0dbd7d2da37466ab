"""`dicom-node bundle`: which bundles there are, what is in one, whether it is intact."""

# ruff: noqa: PLC0415 - commands import what they need when they run
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dicom_node.settings import load_settings

if TYPE_CHECKING:
    from models.bundle import BundleManifest

app = typer.Typer(help="Bundles of weights.", no_args_is_help=True)

BundleName = Annotated[
    str | None, typer.Argument(help="Name of a bundle, or its folder; else the active one.")
]


@app.command("list")
def list_bundles() -> None:
    """Every bundle below worker.bundles_folder; the active one has a star."""
    from models.bundle import BundleError, read_manifest

    settings = load_settings()
    for file in sorted(settings.worker.bundles_folder.glob("*/bundle.toml")):
        star = "*" if file.parent.name == settings.worker.bundle else " "
        try:
            manifest = read_manifest(file.parent)
            words = f"{manifest.version}  {'demonstration' if manifest.demonstration else manifest.licence}"
        except BundleError as error:
            words = str(error)
        typer.echo(f"{star} {file.parent.name:<20} {words}")


@app.command()
def show(name: BundleName = None) -> None:
    """What a bundle holds and what it is for."""
    from models.bundle import BundleError, read_manifest

    folder = _folder(name)
    try:
        manifest = read_manifest(folder)
    except BundleError as error:
        raise _failed(str(error)) from error
    for word, value in _lines(folder, manifest):
        typer.echo(f"{word:<14} {value}")


@app.command()
def verify(name: BundleName = None) -> None:
    """Compare every file with its digest and load the networks."""
    from models.bundle import BundleError, load_bundle

    folder = _folder(name)
    try:
        bundle = load_bundle(folder)
    except BundleError as error:
        raise _failed(str(error)) from error
    typer.echo(f"{bundle.manifest.name} {bundle.manifest.version} is intact: {bundle.digest}")


def _lines(folder: Path, manifest: BundleManifest) -> list[tuple[str, str]]:
    members = manifest.members
    present = [name for name in ("ctclip", "supervised", "diffusion") if getattr(members, name) is not None]
    decision = manifest.fusion or manifest.fallback
    kind = "fusion (LightGBM)" if manifest.fusion is not None else "rule"
    size = sum(file.bytes for file in manifest.files.values())
    return [
        ("name", f"{manifest.name} {manifest.version}"),
        ("folder", str(folder)),
        ("demonstration", "yes: not for diagnosis" if manifest.demonstration else "no"),
        ("licence", manifest.licence),
        ("intended use", manifest.intended_use),
        ("input", f"{manifest.input.shape} voxels of {manifest.input.spacing_mm} mm (z, y, x)"),
        ("members", ", ".join(present)),
        ("decision", f"{kind}, operating point {decision.operating_point if decision is not None else '-'}"),
        ("findings", ", ".join(finding.name for finding in manifest.findings)),
        ("files", f"{len(manifest.files)}, {size / 1e6:.1f} MB"),
    ]


def _folder(name: str | None) -> Path:
    from dicom_node.local_prediction import find_bundle

    try:
        return find_bundle(load_settings(), name)
    except FileNotFoundError as error:
        raise _failed(str(error)) from error


def _failed(words: str) -> typer.Exit:
    typer.echo(words, err=True)
    return typer.Exit(1)
