"""The demonstration from an empty folder to its table."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rich.console import Console

from dicom_node.demo.follow import Follower, Sent
from dicom_node.demo.hospital import Hospital
from dicom_node.demo.outcome import write_summary
from dicom_node.demo.scans import Scan, scans_on_disk, synthetic_scans
from dicom_node.demo.table import print_outcomes
from dicom_node.errors import NodeError
from dicom_node.progress import count_progress
from dicom_node.settings import Settings
from dicom_node.signals import signals_as_interrupt

_MARK = ".demonstration"


class DemoFolderError(NodeError):
    """A folder that holds something else than an earlier demonstration."""


def run_demo(settings: Settings, folder: Path, study: Path | None) -> bool:
    """Run it, print the table, write `summary.json`; whether all went its way (wrong answers included).

    Raises
    ------
    DemoFolderError
        If `folder` is neither new nor one of ours.
    dicom_node.errors.NodeError, FileNotFoundError, inference.errors.Refusal
        If it cannot begin.
    """
    say = Console(stderr=True).print
    empty_folder(folder)
    with signals_as_interrupt(), ExitStack() as stack:
        total, scans = stack.enter_context(_scans(settings, folder, study))
        say("starting Orthanc, the node and the hospital's PACS")
        hospital = stack.enter_context(Hospital(settings, folder))
        follower = Follower(hospital, folder / "pacs")
        sent = _send_all(follower, scans, total)
        outcomes = [follower.outcome(item) for item in sent]
        say("stopping")
    summary = folder / "summary.json"
    write_summary(summary, outcomes)
    print_outcomes(outcomes)
    say(f"written: {summary}")
    return bool(outcomes) and not any(outcome.problem for outcome in outcomes)


def empty_folder(folder: Path) -> None:
    """Make a demonstration's folder, or clear an earlier one.

    Raises
    ------
    DemoFolderError
        If it holds something that no demonstration made.
    """
    if folder.exists():
        if not folder.is_dir() or (any(folder.iterdir()) and not (folder / _MARK).exists()):
            raise DemoFolderError(
                f"{folder} is not a demonstration's folder: name another one with --data-folder"
            )
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    (folder / _MARK).touch()


@contextmanager
def _scans(settings: Settings, folder: Path, study: Path | None) -> Iterator[tuple[int, Iterable[Scan]]]:
    scanner = folder / "scanner"
    if study is None:
        with synthetic_scans(scanner) as scans:
            yield scans
    else:
        found = scans_on_disk(study, settings.http, scanner)
        yield len(found), found


def _send_all(follower: Follower, scans: Iterable[Scan], total: int) -> list[Sent]:
    sent = []
    with count_progress("studies") as progress:
        progress(0, total)
        for scan in scans:
            sent.append(follower.send(scan))
            progress(len(sent), total)
    return sent
