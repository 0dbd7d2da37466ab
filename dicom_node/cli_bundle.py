"""`dicom-node bundle`: which bundles there are, what is in one, whether it is intact, which one answers."""

# ruff: noqa: PLC0415 - commands import what they need when they run
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dicom_node.activation import (
    Activation,
    ActivationBook,
    BundleChoice,
    bundle_name,
    folder_in_use,
    folder_of,
)
from dicom_node.cli_bundle_import import import_bundle
from dicom_node.cli_problems import failed, problems_in_words
from dicom_node.cli_settings import SettingsFile, read_settings
from dicom_node.settings import Settings
from dicom_node.terminal import say

if TYPE_CHECKING:
    from inference.self_test import SelfTestReport
    from models.precision import Precision

app = typer.Typer(help="Bundles of weights.", no_args_is_help=True)
app.command("import")(import_bundle)

BundleName = Annotated[
    str | None, typer.Argument(help="Name of a bundle, or its folder; else the active one.")
]


@app.command("list")
def list_bundles(settings: SettingsFile = None) -> None:
    """Every bundle below worker.bundles_folder; the active one has a star."""
    from models.bundle import BundleError, read_manifest

    tree = read_settings(settings)
    with problems_in_words():
        active = folder_in_use(tree)
        activation = ActivationBook(tree.data_folder).read()
    folders = {file.parent for file in tree.worker.bundles_folder.glob("*/bundle.toml")}
    for folder in sorted({*folders, active}):
        try:
            manifest = read_manifest(folder)
            words = f"{manifest.version}  {'demonstration' if manifest.demonstration else manifest.licence}"
        except BundleError as error:
            words = str(error)
        say(f"{'*' if folder == active else ' '} {bundle_name(tree, folder):<20} {words}")
    if activation is not None and activation.requested != activation.in_use:
        say(_words_of_request(activation))


@app.command()
def show(name: BundleName = None, settings: SettingsFile = None) -> None:
    """What a bundle holds, where it comes from, how it decides and what it is for."""
    from dicom_node.bundle_description import describe_bundle
    from inference.self_test import SelfTestError
    from models.bundle import read_manifest

    tree = read_settings(settings)
    with problems_in_words():
        folder = _folder(tree, name)
        try:
            lines = list(describe_bundle(folder, read_manifest(folder)))
        except SelfTestError as error:
            raise failed(str(error)) from error
    for word, value in lines:
        say(f"{word:<14} {value}")


@app.command()
def verify(
    name: BundleName = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(help="Of the self-test: float32, bf16 or fp16, more than once for several."),
    ] = None,
    settings: SettingsFile = None,
) -> None:
    """Compare every file with its digest, load the networks and let them pass the bundle's self-test here."""
    tree = read_settings(settings)
    wanted = _precisions(precision) or (tree.worker.network_precision,)
    with problems_in_words():
        from dicom_node.analysis import load_tested_bundle

        folder = _folder(tree, name)
        for one in wanted:
            worker = tree.worker.model_copy(update={"precision": one})
            loaded = load_tested_bundle(tree.model_copy(update={"worker": worker}), folder)
            for line in _verified(one, loaded.self_test):
                say(line)
            identity = loaded.analyser.identity
    say(f"{identity.name} {identity.version} is intact: {identity.digest}")


@app.command()
def activate(
    name: Annotated[str | None, typer.Argument(help="Name of a bundle, or its folder.")] = None,
    previous: Annotated[bool, typer.Option("--previous", help="Take the last activation back.")] = False,
    settings: SettingsFile = None,
) -> None:
    """Let a bundle answer from now on, after it was verified on this machine.

    A running node finishes what it has taken in with the bundle before, then loads this one.
    """
    if (name is None) != previous:
        raise typer.BadParameter("give the name of a bundle, or --previous")
    tree = read_settings(settings)
    with problems_in_words():
        from dicom_node.analysis import load_tested_bundle

        book = ActivationBook(tree.data_folder)
        before = book.read()
        taken_back = before.taken_back if before is not None else None
        if previous and taken_back is None:
            raise failed("there is no activation to take back")
        folder = folder_of(tree, taken_back) if taken_back is not None and previous else _folder(tree, name)
        digest = load_tested_bundle(tree, folder).analyser.identity.digest
        choice = BundleChoice(bundle_name(tree, folder), digest)
        if previous and choice != taken_back:
            raise failed(f"{choice.name} is no longer the bundle that was in use: activate it by its name")
        activation = book.request(choice, _choice_of_the_setting(tree) or choice)
    say(_words_of_request(activation))


def _folder(settings: Settings, name: str | None) -> Path:
    """Raises FileNotFoundError where there is no such bundle."""
    from dicom_node.local_prediction import find_bundle

    return find_bundle(settings, name)


def _precisions(names: list[str] | None) -> tuple[Precision, ...]:
    from models.precision import PRECISIONS

    unknown = set(names or ()).difference(PRECISIONS)
    if unknown:
        raise typer.BadParameter(f"{', '.join(sorted(unknown))} is none of {', '.join(PRECISIONS)}")
    return tuple(known for known in PRECISIONS if known in (names or ()))


def _verified(precision: Precision, report: SelfTestReport | None) -> Iterator[str]:
    worst = report.worst if report is not None else None
    if report is None or worst is None:
        yield f"{precision:<8} loaded; the bundle has no self-test"
        return
    against = "" if report.recorded == precision else f" (recorded in {report.recorded})"
    yield (
        f"{precision:<8} self-test passed: {len(report.checks)} scores{against}, largest deviation"
        f" {worst.deviation:.2g} of {worst.tolerance:.2g} allowed ({worst.name})"
    )


def _choice_of_the_setting(settings: Settings) -> BundleChoice | None:
    """The bundle that is in use as long as nothing was activated; None where there is none."""
    from models.manifest_file import MANIFEST, sha256_of

    file = settings.bundle_folder / MANIFEST
    return BundleChoice(settings.worker.bundle, sha256_of(file)) if file.is_file() else None


def _words_of_request(activation: Activation) -> str:
    name = activation.requested.name
    if activation.refused is not None:
        return activation.refused
    if activation.pending:
        return f"{name} is requested; a node takes it over when what it has taken in is done, or at its start"
    return f"{name} is in use"
