"""Key images: one secondary capture (PS3.3 A.8.1) for each slice worth showing.

A secondary capture alone is no report (IHE AI Results); these come in addition to the structured report, for
every viewer that shows images and nothing else. No patient's identity is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from textwrap import wrap

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from inference.study_result import Finding, SliceReference, StudyResult
from structured_report.codes import finding_code
from structured_report.errors import SourceError
from structured_report.image_plane import ImagePlane, image_plane
from structured_report.language import Words
from structured_report.object_header import ReportBasis, ReportObject, series_description
from structured_report.percentage import percentage
from structured_report.provenance import PRODUCT
from structured_report.reading_order import in_reading_order
from structured_report.secondary_capture import Capture, secondary_capture
from structured_report.slice_drawing import WINDOWS, Headline, SlicePicture, draw_slice
from structured_report.source_text import taken_over

MOST_HEADLINES = 3
FOOTER_LENGTH = 60  # letters of a line that need not be shrunk
_NO_BREAK = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True)
class KeySliceImages:
    """Pixels of the key slices.

    Attributes
    ----------
    voxels_hu
        By index of the key slice (`SliceReference.index`), int16 [row, column] in the source image's own
        pixel grid, Hounsfield units.
    pixel_spacing_mm
        Their (row, column) spacing.
    saliency
        By (name of the finding, index of the key slice), float32 [row, column]: the finding's saliency there,
        in the unit of `SaliencyRegion.peak`. Of located findings.
    """

    voxels_hu: Mapping[int, NDArray[np.int16]]
    pixel_spacing_mm: tuple[float, float]
    saliency: Mapping[tuple[str, int], NDArray[np.float32]] = field(default_factory=dict)


@dataclass(frozen=True)
class KeySlice:
    """One key slice and its place among the study's: `number` from 1, of `count`."""

    reference: SliceReference
    number: int
    count: int


def key_images(basis: ReportBasis, slices: KeySliceImages) -> list[ReportObject]:
    """One object for each key slice, in one series, most important first.

    Raises
    ------
    SourceError
        If the pixels of a key slice are missing.
    """
    references: dict[int, SliceReference] = {}
    for reference in basis.result.key_slices:
        references.setdefault(reference.index, reference)  # two findings may share their best slice
    return [
        _key_image(basis, slices, KeySlice(reference, number, len(references)))
        for number, reference in enumerate(references.values(), start=1)
    ]


def _key_image(basis: ReportBasis, slices: KeySliceImages, key_slice: KeySlice) -> ReportObject:
    result = basis.result
    header = basis.source.header(key_slice.reference)
    plane = image_plane(header, key_slice.reference.frame_number)
    drawn = draw_slice(slice_picture(result, header, slices, key_slice, basis.words))
    reference = key_slice.reference
    capture = Capture(
        pixels=drawn.pixels,
        key=result.key,
        study_uid=result.study_uid,
        number=key_slice.number,
        series=series_description(result, basis.words.sentence("key_images"), basis.words),
        derivation="Slice in a CT window, with markers and text of an AI result",
        images=((reference.sop_instance_uid, reference.frame_number),),
        orientation=plane.patient_orientation,
        pixel_spacing_mm=slices.pixel_spacing_mm if drawn.scale == (1.0, 1.0) else None,
    )
    return secondary_capture(basis, capture)


def slice_picture(
    result: StudyResult,
    header: Dataset,
    slices: KeySliceImages,
    key_slice: KeySlice,
    words: Words = Words(),  # noqa: B008 - frozen
) -> SlicePicture:
    """What is drawn for one key slice: the present findings whose best slice it is, else the whole study."""
    reference = key_slice.reference
    plane = image_plane(header, reference.frame_number)
    if reference.index not in slices.voxels_hu:
        raise SourceError(f"the pixels of key slice {reference.index} are missing")
    here = [
        finding
        for finding in in_reading_order(result.findings)
        if finding.present and finding.best_slice is not None and finding.best_slice.index == reference.index
    ]
    shown = here[:MOST_HEADLINES]
    window = finding_code(shown[0].name).window if shown else "lung"
    centre, width = (f"{value:.0f}".replace("-", "\N{MINUS SIGN}") for value in WINDOWS[window])
    bundle = f"{result.bundle.name} {result.bundle.version}"
    version = result.runtime.software_version
    footer = [
        (_where(header, plane, reference, words), words.sentence("window", width=width, centre=centre)),
        (words.sentence("bundle", bundle=bundle, product=PRODUCT, version=version), ""),
        *((line, "") for line in _others(here[MOST_HEADLINES:], words)),
    ]
    located = [item for item in shown if item.region is not None]
    if located:
        footer.append((words.sentence("attention_legend"), ""))
    ordered = [*located, *(item for item in shown if item not in located)]
    headlines = [_headline(item, words) for item in ordered]
    if len(located) > 1:  # their outlines are numbered too
        headlines = [
            replace(item, text=f"{number}  {item.text}") if number <= len(located) else item
            for number, item in enumerate(headlines, start=1)
        ]
    return SlicePicture(
        voxels_hu=slices.voxels_hu[reference.index],
        pixel_spacing_mm=slices.pixel_spacing_mm,
        window=window,
        edges=plane.edges,
        notice=words.sentence("demonstration") if result.bundle.demonstration else "",
        headlines=tuple(headlines or [_study_headline(result, words)]),
        subtitle=(
            _subtitle(result, shown, words),
            words.sentence("key_image", number=key_slice.number, count=key_slice.count),
        ),
        footer=tuple(footer),
        outlines=tuple(item.region.polygon for item in located if item.region is not None),
        scale_label=words.sentence("centimetres", length="{length}"),
        glow=_glow(located, slices, reference.index),
    )


def _glow(located: Sequence[Finding], slices: KeySliceImages, index: int) -> NDArray[np.float32] | None:
    """The located findings' saliency together, each from nothing at its threshold to 1 at its peak."""
    planes = [
        np.clip(
            (slices.saliency[item.name, index] - item.region.threshold)
            / max(item.region.peak - item.region.threshold, 1e-9),
            0,
            1,
        )
        for item in located
        if item.region is not None and (item.name, index) in slices.saliency
    ]
    if not planes:
        return None
    glow: NDArray[np.float32] = np.max(planes, axis=0).astype(np.float32)
    return glow


def _headline(finding: Finding, words: Words) -> Headline:
    name = words.finding(finding.name)
    if finding.laterality and finding_code(finding.name).sided:
        name = words.sentence(f"side_{finding.laterality}", finding=name)
    return Headline(name, f"{percentage(finding.probability, finding.operating_point)} %")


def _others(findings: list[Finding], words: Words) -> list[str]:
    """Lines that name the findings for which there is no headline, so that none of a slice is missing."""
    if not findings:
        return []
    headlines = [_headline(item, words) for item in findings]
    named = ", ".join(f"{item.text} {item.value.replace(' ', _NO_BREAK)}" for item in headlines)
    return wrap(words.sentence("also_here", findings=named), FOOTER_LENGTH)


def _study_headline(result: StudyResult, words: Words) -> Headline:
    value = f"{percentage(result.probability, result.operating_point)} %"
    emphasised = bool(result.decision) or result.verdict == "indeterminate"
    return Headline(words.sentence("pathology"), value, emphasised=emphasised)


def _subtitle(result: StudyResult, shown: list[Finding], words: Words) -> str:
    if not shown:
        return study_state(result, words)
    points = ", ".join(dict.fromkeys(f"{100 * finding.operating_point:.1f} %" for finding in shown))
    return words.sentence("finding_at" if len(shown) == 1 else "findings_at", points=points)


def study_state(result: StudyResult, words: Words) -> str:
    """What the study amounts to, and at which operating point, in a short sentence."""
    point = f"{100 * result.operating_point:.1f}"
    if result.verdict == "indeterminate":
        return words.sentence("study_indeterminate", point=point)
    state = "present" if result.decision else "absent"
    return words.sentence("study_at", state=words.sentence(f"state_{state}"), point=point)


def _where(header: Dataset, plane: ImagePlane, reference: SliceReference, words: Words) -> str:
    number = next((element.value for element in taken_over(header, ("InstanceNumber",))), None)
    image = reference.frame_number if reference.frame_number is not None else number
    z = f"{plane.position_mm[2]:.1f}".replace("-", "\N{MINUS SIGN}")
    place = "slice_place"
    if reference.frame_number is not None:
        place = "frame_place"
    elif isinstance(number, int):
        place = "image_place"
    return words.sentence(place, image=image, number=reference.index + 1, z=z)
