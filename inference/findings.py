"""From columns to findings: probability, presence, side, best slice, slices to show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from inference.columns import CTCLIP, SUPERVISED
from inference.encoder_input import EncoderInput
from inference.lungs import Lungs
from inference.members import Ensemble, Reading
from inference.saliency import Point, SaliencyMap, saliency_maps
from inference.saliency_region import saliency_piece
from inference.study_result import Finding, SliceReference
from inference.volume import CTVolume
from models.manifest import SIDES_RELIED_ON, FindingSpec, SaliencySpec

MAX_KEY_SLICES = 5


def finding_saliency(
    ensemble: Ensemble, reading: Reading, prepared: EncoderInput, volume: CTVolume, lungs: Lungs | None
) -> dict[str, SaliencyMap]:
    """The saliency of every finding of the bundle: of its supervised column, else of its CT-CLIP column.

    Where the lungs are known the body around them is, which the maps then keep to.
    """
    wanted: dict[str, dict[str, int]] = {SUPERVISED: {}, CTCLIP: {}}
    for spec in ensemble.bundle.manifest.findings:
        member = next(
            (name for name in (SUPERVISED, CTCLIP) if _label(ensemble, spec, name) is not None), None
        )
        if member is not None:
            wanted[member][spec.name] = ensemble.labels(member).index(_label(ensemble, spec, member) or "")
    maps: dict[str, SaliencyMap] = {}
    for member, indices in wanted.items():
        if indices:
            maps |= dict(
                zip(
                    indices,
                    saliency_maps(
                        ensemble.logits(member),
                        reading.tokens[ensemble.tower(member)],
                        list(indices.values()),
                        prepared,
                        volume.voxels_hu.shape,
                        body=lungs.body if lungs is not None else None,
                    ),
                    strict=True,
                )
            )
    return maps


def findings(
    specs: Sequence[FindingSpec],
    columns: Mapping[str, float],
    saliency: Mapping[str, SaliencyMap],
    volume: CTVolume,
    lungs: Lungs | None,
    *,
    reliance: SaliencySpec | None,
) -> tuple[Finding, ...]:
    """Every finding that the bundle names, in its order.

    `reliance` says from which value on the saliency locates a finding, and whether sides are told; without
    it a finding has a best slice and no region.

    Raises
    ------
    KeyError
        If no member gives a column that a finding is made of.
    """
    return tuple(
        _finding(spec, columns, saliency.get(spec.name), volume, lungs, reliance=reliance) for spec in specs
    )


def side_warning(found: Sequence[Finding], reliance: SaliencySpec | None) -> str | None:
    """Why no side is told, where a located finding could have had one."""
    if reliance is None or reliance.tells_sides or all(finding.region is None for finding in found):
        return None
    if reliance.side_agreement is None:
        return "No side is told of any finding: nobody measured how often this bundle's would be right."
    return (
        "No side is told of any finding: of the sides that this bundle named in"
        f" {reliance.side_cases} held-out findings {100 * reliance.side_agreement:.0f} % were right, and at"
        f" least {100 * SIDES_RELIED_ON:.0f} % are needed."
    )


def key_slices(
    found: Sequence[Finding], reading: Reading, prepared: EncoderInput, volume: CTVolume, lungs: Lungs | None
) -> tuple[SliceReference, ...]:
    """Slices worth showing: the best of each present finding, most dangerous first, and the lungs' middle.

    Without a present finding the slice that the slice classifier found most abnormal comes first.
    """
    present = sorted(
        (finding for finding in found if finding.present),
        key=lambda finding: finding.danger,
        reverse=True,
    )
    chosen = [finding.best_slice for finding in present if finding.best_slice is not None]
    if not chosen and reading.slice_probabilities:
        plane = max(reading.slice_probabilities, key=reading.slice_probabilities.__getitem__)
        chosen.append(_centred(plane_source(prepared, volume, plane), volume, lungs))
    first_of_each: dict[int, SliceReference] = {}
    for reference in chosen:
        first_of_each.setdefault(reference.index, reference)
    chosen = list(first_of_each.values())
    middle = lungs.middle_slice if lungs is not None else len(volume.voxels_hu) // 2
    chosen = chosen[: MAX_KEY_SLICES - 1]
    if all(reference.index != middle for reference in chosen):
        chosen.append(_centred(middle, volume, lungs))
    return tuple(chosen)


def plane_source(prepared: EncoderInput, volume: CTVolume, plane: int) -> int:
    """The slice of the CT nearest to the middle of a plane of the encoder input."""
    _, x, y = prepared.tensor.shape
    place = prepared.source_index(np.array([plane, (x - 1) / 2, (y - 1) / 2]))[0]
    return int(np.clip(np.rint(place), 0, len(volume.voxels_hu) - 1))


def _label(ensemble: Ensemble, spec: FindingSpec, member: str) -> str | None:
    """The label of a member that a finding is made of, if it is made of one."""
    if member not in ensemble.members:
        return None
    names = (column.removeprefix(f"{member}_") for column in spec.columns if column.startswith(f"{member}_"))
    return next((name for name in names if name in ensemble.labels(member)), None)


def _finding(
    spec: FindingSpec,
    columns: Mapping[str, float],
    saliency: SaliencyMap | None,
    volume: CTVolume,
    lungs: Lungs | None,
    *,
    reliance: SaliencySpec | None,
) -> Finding:
    probability = float(np.mean([columns[name] for name in spec.columns]))
    present = probability >= spec.operating_point
    peak = saliency.peak() if saliency is not None else None
    region, side = None, None
    if present and saliency is not None and reliance is not None:
        piece = saliency_piece(saliency, reliance.voxel_threshold)
        region = piece.region(volume) if piece is not None else None
        if piece is not None and region is not None and lungs is not None and reliance.tells_sides:
            side = piece.side(lungs)
    return Finding(
        name=spec.name,
        probability=probability,
        operating_point=spec.operating_point,
        present=present,
        severity=spec.severity,
        member_scores=_member_scores(spec, columns),
        laterality=side,
        best_slice=_reference(peak, volume) if peak is not None else None,
        umbrella=spec.umbrella,
        region=region,
    )


def _member_scores(spec: FindingSpec, columns: Mapping[str, float]) -> dict[str, float]:
    """By member; by column where a finding takes several columns of one member."""
    members = [name.split("_", maxsplit=1)[0] for name in spec.columns]
    keys = members if len(set(members)) == len(members) else spec.columns
    return {key: columns[name] for key, name in zip(keys, spec.columns, strict=True)}


def _reference(point: Point, volume: CTVolume) -> SliceReference:
    index, row, column = point
    return SliceReference(
        index, volume.sop_instance_uids[index], volume.frame_numbers[index], float(row), float(column)
    )


def _centred(index: int, volume: CTVolume, lungs: Lungs | None) -> SliceReference:
    """A slice anchored at the centre of the lungs, or of the image where no lungs are known."""
    _, rows, columns = volume.voxels_hu.shape
    row, column = lungs.centre(index) if lungs is not None else ((rows - 1) / 2, (columns - 1) / 2)
    uid, frame = volume.sop_instance_uids[index], volume.frame_numbers[index]
    return SliceReference(index, uid, frame, float(row), float(column))
