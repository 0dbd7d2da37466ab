"""Where the bundle looks: from which value on saliency locates a finding, and whether its sides are right.

The threshold is the one of the greatest mean F1 score of places on cases that set operating points, sides are
measured on held-out cases. A place holds a finding if a twentieth of it does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from inference.encoder_input import encoder_input
from inference.errors import VolumeRefusal
from inference.findings import finding_saliency
from inference.lungs import Lungs, find_lungs
from inference.members import Ensemble
from inference.saliency import SaliencyMap
from inference.saliency_region import saliency_piece
from inference.study_result import Laterality
from inference.volume import CTVolume
from models.bundle import Bundle
from models.manifest import SaliencySpec
from phantom.cases import FINDINGS, Case
from phantom.render import thorax
from training.dataset import CELL, InputGrid, coarse_masks, encoder_volume
from training.scoring import plane_names

BoolArray = npt.NDArray[np.bool_]

# Cardiomegaly lies in the middle.
SIDED = tuple(name for name in FINDINGS if name != "Cardiomegaly")
ONE_SIDED = 0.95  # of a finding's volume
HOLDS_A_FINDING = 0.05  # of a place
_THRESHOLDS = 24


@dataclass(frozen=True)
class LocatedFinding:
    """One finding that a case has and the bundle calls present.

    `truth` says which places of the map hold it, `side` on which side it lies (None: on both, or in the
    middle), `lungs` are those of the case.
    """

    name: str
    saliency: SaliencyMap
    truth: BoolArray
    side: Laterality | None
    lungs: Lungs


def located_findings(bundle: Bundle, cases: Iterable[Case], target: InputGrid) -> Iterator[LocatedFinding]:
    """The present findings of the cases whose lungs are found, rendered onto the encoder's grid."""
    ensemble = _labelling(bundle)
    for case in cases:
        if not case.findings:
            continue
        volume = _volume(case, target)
        try:
            lungs = find_lungs(volume)
        except VolumeRefusal:  # hardly any air is left
            continue
        prepared = encoder_input(volume, bundle.manifest.input)
        reading = ensemble.read(prepared.tensor, plane_names(case, len(prepared.tensor)))
        maps = finding_saliency(ensemble, reading, prepared, volume, lungs)
        cells = coarse_masks(case, target)
        for spec in bundle.manifest.findings:
            scores = [reading.scores[member][name] for member, name in _split(spec.columns)]
            if spec.name in case.findings and np.mean(scores) >= spec.operating_point:
                mask = (cells & (1 << FINDINGS.index(spec.name))) > 0
                saliency = maps[spec.name]
                truth = _by_place(mask, saliency.values.shape)
                yield LocatedFinding(spec.name, saliency, truth, _side(case, mask, target), lungs)


def measured_saliency(
    bundle: Bundle, threshold_cases: Iterable[Case], side_cases: Iterable[Case], target: InputGrid
) -> SaliencySpec | None:
    """What the manifest says of the saliency; None where no finding of the cases is called present."""
    threshold = best_threshold(list(located_findings(bundle, threshold_cases, target)))
    if threshold is None:
        return None
    return measured_sides(located_findings(bundle, side_cases, target), threshold)


def best_threshold(items: list[LocatedFinding]) -> float | None:
    """The threshold of the greatest mean F1 score, to three digits."""
    peaks = [float(item.saliency.values.max()) for item in items]
    if not any(peaks):
        return None
    candidates = np.linspace(0, float(np.median(peaks)), _THRESHOLDS + 1)[1:]
    best = max(candidates, key=lambda value: np.mean([piece_f1(item, float(value)) for item in items]))
    return float(f"{best:.3g}")


def measured_sides(items: Iterable[LocatedFinding], threshold: float) -> SaliencySpec:
    """How often the side that is named for a finding is right; one of a finding on both sides is wrong."""
    named = right = located = 0
    for item in items:
        piece = saliency_piece(item.saliency, threshold)
        if item.name not in SIDED or piece is None:
            continue
        located += 1
        side = piece.side(item.lungs)
        named += side is not None
        right += side is not None and side == item.side
    return SaliencySpec(
        voxel_threshold=threshold,
        side_agreement=right / named if named else None,
        side_cases=named,
        cohort=f"synthetic thoraces, held out, {located} located findings",
    )


def piece_f1(item: LocatedFinding, threshold: float) -> float:
    """F1 score of the places of the piece against those that hold the finding; 0 without a piece."""
    piece = saliency_piece(item.saliency, threshold)
    if piece is None:
        return 0.0
    return 2 * float((piece.places & item.truth).sum()) / float(piece.places.sum() + item.truth.sum())


def _volume(case: Case, target: InputGrid) -> CTVolume:
    """The encoder's own grid as a CT along the patient's axes, which its preparation leaves as it is."""
    tensor = encoder_volume(case, target)
    z, x, y = target.spacing_mm
    uids = tuple(f"{case.seed}.{index}" for index in range(len(tensor)))
    return CTVolume(
        voxels_hu=np.rint(1000 * tensor.transpose(0, 2, 1)).astype(np.int16),
        affine=np.diag([x, y, z, 1.0]),
        spacing_mm=(z, y, x),
        sop_instance_uids=uids,
        frame_numbers=(None,) * len(uids),
        study_uid=str(case.seed),
        series_uid=str(case.seed),
        warnings=(),
    )


def _labelling(bundle: Bundle) -> Ensemble:
    """The labelling members alone: the slice networks say nothing of findings."""
    members = replace(bundle.manifest.members, diffusion=None)
    manifest = replace(bundle.manifest, members=members)
    return Ensemble(replace(bundle, manifest=manifest, slice_classifier=None, unet=None))


def _split(columns: tuple[str, ...]) -> list[tuple[str, str]]:
    pairs = (column.split("_", maxsplit=1) for column in columns)
    return [(member, name) for member, name in pairs]


def _by_place(mask: BoolArray, grid: tuple[int, ...]) -> BoolArray:
    a, b, c = grid
    blocks = mask.reshape(a, mask.shape[0] // a, b, mask.shape[1] // b, c, mask.shape[2] // c)
    return np.asarray(blocks.mean(axis=(1, 3, 5)) >= HOLDS_A_FINDING)


def _side(case: Case, mask: BoolArray, target: InputGrid) -> Laterality | None:
    """The side of the body's middle that holds nearly all of a finding (cells, x to the left)."""
    cell_mm = CELL[1] * target.spacing_mm[1]
    columns = mask.shape[1]
    left_mm = (np.arange(columns) + 0.5 - columns / 2) * cell_mm - thorax(case).habitus.centre[0]
    share = float(mask[:, left_mm > 0].sum()) / max(int(mask.sum()), 1)
    if share >= ONE_SIDED:
        return "left"
    return "right" if share <= 1 - ONE_SIDED else None
