"""`dicom-node`: the node and its tools on the command line.

Nothing heavy is imported before a command needs it, so that `--help` answers at once. Answers go to standard
output, progress and problems to standard error.
"""

# ruff: noqa: PLC0415 - commands import what they need when they run
from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from dicom_node import cli_bundle, cli_viewer, log
from dicom_node.cli_problems import failed, problems_in_words
from dicom_node.cli_settings import SettingsFile, read_settings
from dicom_node.terminal import say

# Rich tracebacks print local variables, and those may hold values of DICOM tags.
app = typer.Typer(
    help="A chest-CT AI node: DICOM in, a structured report back to the PACS.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(cli_bundle.app, name="bundle")
app.add_typer(cli_viewer.app, name="viewer")


@app.callback()
def prepare_process() -> None:
    """Set what must stand before torch is loaded."""
    # OpenMP's threads wait for each other by spinning, which takes the cores from Orthanc and the codecs: on
    # two busy cores a study took 17 to 21 s, and 6 to 7 s with threads that sleep.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@app.command()
def run(
    settings: SettingsFile = None,
    with_orthanc: Annotated[bool, typer.Option(help="Start an Orthanc of this machine as well.")] = False,
) -> None:
    """Keep the node up until Ctrl-C."""
    tree = read_settings(settings)
    log.configure(tree.log_level)
    with problems_in_words():
        from dicom_node.serve import run_node

        run_node(tree, with_orthanc=with_orthanc, say=say)


@app.command()
def worker(settings: SettingsFile = None) -> None:
    """Analyse what a node takes in, without HTTP and intake, until Ctrl-C."""
    tree = read_settings(settings)
    log.configure(tree.log_level)
    with problems_in_words():
        from dicom_node.serve import run_worker

        run_worker(tree, say=say)


@app.command()
def predict(
    paths: Annotated[
        list[Path],
        typer.Argument(help="Folders, ZIPs and DICOM files, or one NIfTI volume.", metavar="PATH..."),
    ],
    bundle: Annotated[str | None, typer.Option(help="Name of a bundle, or its folder.")] = None,
    details: Annotated[bool, typer.Option(help="All scores, columns, series and seconds.")] = False,
    study_uid: Annotated[
        str | None, typer.Option(help="Study Instance UID of the one to read, where there are several.")
    ] = None,
    settings: SettingsFile = None,
) -> None:
    """Read a study without any server and print the answer as JSON; exit code 1 where there is none."""
    tree = read_settings(settings)
    log.configure("ERROR")
    from dicom_node.cli_predict import predict_answer

    answer, succeeded = predict_answer(paths, tree, bundle=bundle, details=details, study_uid=study_uid)
    say(json.dumps(answer, ensure_ascii=False, indent=2))
    raise typer.Exit(0 if succeeded else 1)


@app.command()
def volume(
    paths: Annotated[
        list[Path],
        typer.Argument(help="Folders, ZIPs and DICOM files, or one NIfTI volume.", metavar="PATH..."),
    ],
    out: Annotated[Path, typer.Option(help="Where to write it: .nii or .nii.gz.", metavar="FILE")],
    as_json: Annotated[bool, typer.Option("--json", help="Series, geometry, lungs and warnings.")] = False,
    study_uid: Annotated[
        str | None, typer.Option(help="Study Instance UID of the one to read, where there are several.")
    ] = None,
    settings: SettingsFile = None,
) -> None:
    """Write the HU volume that would be analysed, as NIfTI; exit code 1 where the study would be refused."""
    if not out.name.endswith((".nii", ".nii.gz")):
        raise typer.BadParameter("the name must end with .nii or .nii.gz", param_hint="--out")
    tree = read_settings(settings)
    log.configure("ERROR")
    from dicom_node.cli_volume import summary, volume_answer

    answer = volume_answer(paths, out, tree, study_uid=study_uid)
    text = json.dumps(answer.content, ensure_ascii=False, indent=2) if as_json else summary(answer)
    if text:
        say(text)
    if answer.code is not None:
        raise failed(f"{answer.code}: {answer.sentence}")


@app.command()
def send(
    paths: Annotated[list[Path], typer.Argument(help="Folders or DICOM files.", metavar="PATH...")],
    to: Annotated[str, typer.Option(help="The peer, as AET@HOST:PORT.", metavar="AET@HOST:PORT")],
    calling_aet: Annotated[str, typer.Option(help="Our own AE title.")] = "SCANNER",
) -> None:
    """Send DICOM files by C-STORE, as a scanner would."""
    log.configure("ERROR")
    from dicom_node.scanner import PeerFormError, parse_peer, send_files

    try:
        peer = parse_peer(to)
    except PeerFormError as error:
        raise typer.BadParameter(str(error), param_hint="--to") from error
    with problems_in_words():
        outcome = send_files(paths, peer, calling_aet=calling_aet)
    say(outcome.words())
    raise typer.Exit(0 if outcome.complete else 1)


@app.command()
def demo(
    study: Annotated[Path | None, typer.Option(help="Send this study instead of the synthetic ones.")] = None,
    data_folder: Annotated[Path, typer.Option(help="Emptied first.")] = Path("var/demo"),
    settings: SettingsFile = None,
) -> None:
    """Scanner, node and PACS on this machine: send studies and compare what comes back with the truth."""
    tree = read_settings(settings)
    log.configure("ERROR")
    with problems_in_words():
        from dicom_node.demo.run import run_demo

        passed = run_demo(tree, data_folder, study)
    raise typer.Exit(0 if passed else 1)


@app.command()
def doctor(settings: SettingsFile = None) -> None:
    """Say what this machine lacks for a node to run."""
    tree = read_settings(settings)
    log.configure("ERROR")
    from dicom_node.doctor import examine

    checks = examine(tree)
    width = max(len(check.name) for check in checks)
    for check in checks:
        say(f"{'ok     ' if check.passed else 'missing'}  {check.name:<{width}}  {check.words}")
    raise typer.Exit(0 if all(check.passed for check in checks) else 1)


if __name__ == "__main__":
    app()
