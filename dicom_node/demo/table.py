"""The demonstration's outcome for a person: truth against result, and the seconds of every stage."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table

from dicom_node.answer import DEMONSTRATION_NOTICE
from dicom_node.demo.outcome import LAST_IMAGE_TO_SR, Outcome

_WIDTH = 160
_STAGES = (
    *("send", "queue", "fetch", "read", "lungs", "prepare", "ctclip", "supervised", "diffusion", "saliency"),
    *("fusion", "analyse", "report", "store"),
)
_KINDS = {"chest": "chest CT", "head": "head CT", "quality_phantom": "quality phantom"}


def print_outcomes(outcomes: Sequence[Outcome], console: Console | None = None) -> None:
    """Print both tables, what differs from the truth, and what failed."""
    if console is None:
        console = Console()
        if not console.is_terminal:
            console = Console(width=_WIDTH)
    console.print(render_outcomes(outcomes))


def render_outcomes(outcomes: Sequence[Outcome]) -> RenderableType:
    """Both tables with their captions."""
    lines = [DEMONSTRATION_NOTICE]
    differing = [str(number) for number, item in enumerate(outcomes, 1) if item.as_known is False]
    if differing:
        lines.append(f"Answer differs from the truth: study {', '.join(differing)}.")
    lines += [
        f"FAILED, study {number}: {item.problem}" for number, item in enumerate(outcomes, 1) if item.problem
    ]
    return Group(_results(outcomes), _seconds(outcomes), *lines)


def _results(outcomes: Sequence[Outcome]) -> Table:
    table = Table(title="Truth and result (demonstration, not for diagnosis)", title_justify="left")
    for heading in ("", "sent", "truth", "result", "findings said", "in the PACS"):
        table.add_column(heading, overflow="fold")
    table.add_column("agrees", justify="center")
    table.add_column("last image\nto SR, s", justify="right")
    for number, item in enumerate(outcomes, 1):
        seconds = item.seconds.get(LAST_IMAGE_TO_SR)
        table.add_row(
            str(number),
            _KINDS[item.kind],
            _truth(item),
            _result(item),
            ", ".join(item.present),
            _received(item),
            {True: "yes", False: "no", None: "-"}[item.as_known],
            f"{seconds:.1f}" if seconds is not None else "-",
        )
    return table


def _seconds(outcomes: Sequence[Outcome]) -> Table:
    measured = dict.fromkeys(stage for item in outcomes for stage in item.seconds)
    measured.pop(LAST_IMAGE_TO_SR, None)
    stages = sorted(measured, key=lambda stage: _STAGES.index(stage) if stage in _STAGES else len(_STAGES))
    table = Table(title="Seconds of every stage", title_justify="left")
    table.add_column("")
    for stage in stages:
        table.add_column(stage.replace(":", "\n"), justify="right")
    for number, item in enumerate(outcomes, 1):
        cells = (f"{item.seconds[stage]:.2f}" if stage in item.seconds else "" for stage in stages)
        table.add_row(str(number), *cells)
    table.caption = "The time for which the archive waits for more images (stable age) is in none of them."
    table.caption_justify = "left"
    return table


def _truth(item: Outcome) -> str:
    if item.truth is None:
        return "not known"
    if item.kind != "chest":
        return "no chest"
    return ", ".join(item.truth) or "normal"


def _result(item: Outcome) -> str:
    if item.state == "refused":
        return f"refused: {item.refusal}"
    if item.probability is None:
        return item.state
    return f"{'pathology' if item.decision else 'normal'} ({item.probability:.2f})"


def _received(item: Outcome) -> str:
    parts = ["SR"] if item.sr is not None else []
    if item.key_images:
        parts.append(f"{len(item.key_images)} key image{'s' if len(item.key_images) > 1 else ''}")
    return ", ".join([*parts, f"{item.originals} originals"])
