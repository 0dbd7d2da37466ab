"""A progress bar on standard error, so that standard output stays what a program can read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

STAGE_WORDS = {
    "read": "reading images",
    "prepare": "preparing",
    "lungs": "looking for lungs",
    "ctclip": "CT-CLIP",
    "supervised": "supervised head",
    "diffusion": "diffusion",
    "fusion": "fusion",
}


@contextmanager
def stage_progress() -> Iterator[Callable[[str, float], None]]:
    """A bar for an analysis: call what it gives with (stage, fraction of the whole, 0 to 1)."""
    with _bar() as bar:
        task = bar.add_task("starting", total=1.0)

        def report(stage: str, fraction: float) -> None:
            bar.update(
                task, description=STAGE_WORDS.get(stage, stage), completed=min(1.0, max(0.0, fraction))
            )

        yield report


@contextmanager
def count_progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar for things that are counted: call what it gives with (done, in all)."""
    with _bar() as bar:
        task = bar.add_task(what, total=None)

        def report(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield report


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    )
