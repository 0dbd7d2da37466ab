"""How far reduced precision moves the answers: codes, probabilities and decisions against float32."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor

from bench.machine import Machine, describe_machine
from bench.tables import markdown_table
from inference.allocator import keep_freed_memory
from inference.columns import DIFFUSION
from inference.exact_float32 import compute_exactly_in_float32
from inference.members import Ensemble, Reading
from models.bundle import Bundle, load_bundle
from models.precision import Precision
from phantom.cases import HELD_OUT_SEEDS, draw_case
from training.dataset import InputGrid, encoder_volume

THRESHOLD = 0.5
SLICES = "slice classifier"


@dataclass(frozen=True)
class ProbabilityChange:
    """How far a member's probabilities lie from float32's, and how many decisions at `THRESHOLD` differ."""

    probabilities: int
    largest: float
    mean: float
    decisions: int


@dataclass(frozen=True)
class PrecisionFigures:
    """One precision against float32 over all volumes.

    `flips` are the tokens of each volume whose code is another one, all image encoders together, of `tokens`
    in a volume; `changes` are by member, the slice classifier's probabilities being those of single slices.
    """

    precision: Precision
    tokens: int
    flips: tuple[int, ...]
    changes: dict[str, ProbabilityChange]


@dataclass(frozen=True)
class PrecisionReport:
    """All precisions of a bundle, on a machine."""

    machine: Machine
    bundle: str
    volumes: int
    figures: tuple[PrecisionFigures, ...]

    def table(self) -> str:
        """The report in Markdown."""
        rows = [
            (
                f"{figures.precision}, {member}",
                f"{fmean(figures.flips):.1f}",
                f"{max(figures.flips)} of {figures.tokens}",
                f"{change.largest:.5f}",
                f"{change.mean:.6f}",
                f"{change.decisions} of {change.probabilities}",
            )
            for figures in self.figures
            for member, change in figures.changes.items()
        ]
        header = (
            f"{self.bundle}, {self.volumes} volumes, against float32",
            "flipped codes, mean",
            "largest",
            "largest change",
            "mean change",
            "changed decisions",
        )
        return markdown_table(header, rows)


@dataclass
class _Differences:
    """What has been gathered of one precision so far."""

    tokens: int = 0
    flips: list[int] = field(default_factory=list)
    pairs: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def add(self, flips: int, tokens: int, exact: Reading, reduced: Reading) -> None:
        self.tokens = tokens
        self.flips.append(flips)
        before, after = _probabilities(exact), _probabilities(reduced)
        for member, values in before.items():
            self.pairs.setdefault(member, []).extend(zip(values, after[member], strict=True))

    def figures(self, precision: Precision) -> PrecisionFigures:
        changes = {member: probability_change(pairs) for member, pairs in self.pairs.items()}
        return PrecisionFigures(precision, self.tokens, tuple(self.flips), changes)


def precision_reports(
    bundle_folder: Path,
    precisions: Sequence[Precision],
    volumes: int,
    *,
    device: str = "cpu",
    slices: bool = True,
) -> Iterator[PrecisionReport]:
    """Compare each of `precisions` with float32 on `volumes` synthetic thoraces, every second one abnormal.

    Yields the report on all volumes so far after each of them: a long run that is stopped is not lost.
    The thoraces are sampled on the encoder's grid. Reconstructions are left out, on a CPU they take hours;
    so is the slice classifier if `slices` is False.
    """
    keep_freed_memory()
    compute_exactly_in_float32()
    exact = _ensemble(bundle_folder, device, "float32", slices=slices)
    reduced = {
        precision: _ensemble(bundle_folder, device, precision, slices=slices) for precision in precisions
    }
    bundle = exact.bundle
    gathered: dict[Precision, _Differences] = {precision: _Differences() for precision in precisions}
    for number, volume in enumerate(synthetic_volumes(bundle, volumes), start=1):
        sources = [f"volume {number}, plane {plane}" for plane in range(len(volume))]
        reference = exact.read(volume, sources)
        for precision, ensemble in reduced.items():
            reading = ensemble.read(volume, sources)
            flips, tokens = flipped_codes(bundle, reference, reading)
            gathered[precision].add(flips, tokens, reference, reading)
        yield PrecisionReport(
            machine=describe_machine(device),
            bundle=bundle.manifest.name,
            volumes=number,
            figures=tuple(differences.figures(precision) for precision, differences in gathered.items()),
        )


def synthetic_volumes(bundle: Bundle, count: int) -> Iterable[Tensor]:
    """Encoder inputs (z, x, y) of `count` held-out thoraces."""
    spec = bundle.manifest.input
    grid = InputGrid(spec.spacing_mm, spec.shape)
    for number, seed in enumerate(HELD_OUT_SEEDS[:count]):
        yield torch.from_numpy(encoder_volume(draw_case(seed, abnormal=number % 2 == 1), grid))


def flipped_codes(bundle: Bundle, exact: Reading, reduced: Reading) -> tuple[int, int]:
    """Tokens whose code differs between two readings of a volume, and tokens altogether."""
    flips = tokens = 0
    for name, quantised in exact.tokens.items():
        before, after = (_codes(bundle, name, answer) for answer in (quantised, reduced.tokens[name]))
        flips += int((before != after).sum())
        tokens += before.numel()
    return flips, tokens


def probability_change(pairs: Sequence[tuple[float, float]]) -> ProbabilityChange:
    """How far the second of each pair of probabilities lies from the first."""
    differences = [abs(after - before) for before, after in pairs]
    changed = sum((before >= THRESHOLD) != (after >= THRESHOLD) for before, after in pairs)
    return ProbabilityChange(len(pairs), max(differences), fmean(differences), changed)


def _codes(bundle: Bundle, tower: str, tokens: Tensor) -> Tensor:
    """Which code each quantised token is: the one nearest to it, in float32."""
    with torch.inference_mode():
        return bundle.towers[tower].quantise(tokens.float())[1]


def _probabilities(reading: Reading) -> dict[str, list[float]]:
    """Probabilities by member; those of single slices stand for the slice classifier's statistics."""
    labelled = {
        member: list(scores.values()) for member, scores in reading.scores.items() if member != DIFFUSION
    }
    slices = list(reading.slice_probabilities.values())
    return {**labelled, SLICES: slices} if slices else labelled


def _ensemble(folder: Path, device: str, precision: Precision, *, slices: bool) -> Ensemble:
    """The ensemble in a precision, without reconstruction and, if `slices` is False, slice classifier."""
    bundle = replace(load_bundle(folder, device=device, precision=precision), unet=None)
    if not slices:
        members = replace(bundle.manifest.members, diffusion=None)
        bundle = replace(bundle, manifest=replace(bundle.manifest, members=members), slice_classifier=None)
    return Ensemble(bundle, device=device)
