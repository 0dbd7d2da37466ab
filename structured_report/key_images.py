"""Key images: one secondary capture (PS3.3 A.8.1) for each slice worth showing.

A secondary capture alone is no report (IHE AI Results); these come in addition to the structured report, for
every viewer that shows images and nothing else. No patient's identity is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from textwrap import wrap

import numpy as np
from highdicom.sc import SCImage
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage
from pydicom.valuerep import DA, TM

from inference.study_result import Finding, SliceReference, StudyResult
from structured_report.codes import concept, finding_code
from structured_report.errors import SourceError
from structured_report.identifiers import object_uid, series_uid
from structured_report.image_plane import ImagePlane, image_plane
from structured_report.measurement_groups import in_reading_order
from structured_report.object_header import (
    DEMONSTRATION_NOTICE,
    ReportBasis,
    ReportObject,
    complete,
    series_description,
)
from structured_report.percentage import percentage
from structured_report.provenance import MANUFACTURER, PRODUCT
from structured_report.slice_drawing import WINDOWS, Headline, SlicePicture, draw_slice
from structured_report.source_text import taken_over

MOST_HEADLINES = 3
FOOTER_LENGTH = 60  # letters of a line that need not be shrunk
_LOSSY_COMPRESSION = (
    "LossyImageCompression",
    "LossyImageCompressionRatio",
    "LossyImageCompressionMethod",
)
_NO_BREAK = "\N{NO-BREAK SPACE}"
RING_LEGEND = "Ring: where the network looked most; no outline, no measurement"


@dataclass(frozen=True)
class KeySliceImages:
    """Pixels of the key slices.

    `voxels_hu` maps the index of each key slice (`SliceReference.index`) to int16 [row, column] in the source
    image's own pixel grid, Hounsfield units; `pixel_spacing_mm` is their (row, column) spacing.
    """

    voxels_hu: Mapping[int, NDArray[np.int16]]
    pixel_spacing_mm: tuple[float, float]


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
    drawn = draw_slice(slice_picture(result, header, slices, key_slice))
    dataset = SCImage(
        pixel_array=drawn.pixels,
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        study_instance_uid=result.study_uid,
        series_instance_uid=series_uid(result.key, SecondaryCaptureImageStorage),
        series_number=basis.context.series_number_base + 1,
        sop_instance_uid=object_uid(result.key, SecondaryCaptureImageStorage, key_slice.number),
        instance_number=key_slice.number,
        manufacturer=MANUFACTURER,
        patient_orientation=plane.patient_orientation,
        pixel_spacing=slices.pixel_spacing_mm if drawn.scale == (1.0, 1.0) else None,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        series_description=series_description(result, "key images"),
        specific_character_set="ISO_IR 192",
    )
    complete(dataset, basis)
    _describe(dataset, header, key_slice.reference)
    dataset.DateOfSecondaryCapture, dataset.TimeOfSecondaryCapture = DA(basis.date), TM(basis.time)
    if basis.source.request_attributes:
        dataset.RequestAttributesSequence = list(basis.source.request_attributes)
    return ReportObject("sc", dataset)


def slice_picture(
    result: StudyResult, header: Dataset, slices: KeySliceImages, key_slice: KeySlice
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
    centre, width = WINDOWS[window]
    bundle = f"{result.bundle.name} {result.bundle.version}"
    footer = [
        (_where(header, plane, reference), f"W {width:.0f}  L {centre:.0f}".replace("-", "\N{MINUS SIGN}")),
        (f"Bundle {bundle}, {PRODUCT} {result.runtime.software_version}", ""),
        *((line, "") for line in _others(here[MOST_HEADLINES:])),
    ]
    rings = tuple((item.best_slice.row, item.best_slice.column) for item in shown if item.best_slice)
    if rings:
        footer.append((RING_LEGEND, ""))
    headlines = [_headline(item) for item in shown] or [_study_headline(result)]
    if len(rings) > 1:  # the rings are numbered too
        headlines = [
            replace(item, text=f"{number}  {item.text}") for number, item in enumerate(headlines, start=1)
        ]
    return SlicePicture(
        voxels_hu=slices.voxels_hu[reference.index],
        pixel_spacing_mm=slices.pixel_spacing_mm,
        window=window,
        edges=plane.edges,
        notice=DEMONSTRATION_NOTICE if result.bundle.demonstration else "",
        headlines=tuple(headlines),
        subtitle=(_subtitle(result, shown), f"key image {key_slice.number} of {key_slice.count}"),
        footer=tuple(footer),
        rings=rings,
    )


def _headline(finding: Finding) -> Headline:
    side = f", {finding.laterality}" if finding.laterality and finding_code(finding.name).sided else ""
    return Headline(finding.name + side, f"{percentage(finding.probability, finding.operating_point)} %")


def _others(findings: list[Finding]) -> list[str]:
    """Lines that name the findings for which there is no headline, so that none of a slice is missing."""
    if not findings:
        return []
    headlines = [_headline(item) for item in findings]
    named = ", ".join(f"{item.text} {item.value.replace(' ', _NO_BREAK)}" for item in headlines)
    return wrap(f"Also on this slice: {named}", FOOTER_LENGTH)


def _study_headline(result: StudyResult) -> Headline:
    value = f"{percentage(result.probability, result.operating_point)} %"
    emphasised = bool(result.decision) or result.verdict == "indeterminate"
    return Headline("Pathology of the chest", value, emphasised=emphasised)


def _subtitle(result: StudyResult, shown: list[Finding]) -> str:
    if not shown:
        point = f"operating point {100 * result.operating_point:.1f} %"
        if result.verdict == "indeterminate":
            return f"Whole study: indeterminate, {point}"
        return f"Whole study: {'present' if result.decision else 'absent'} at {point}"
    points = ", ".join(dict.fromkeys(f"{100 * finding.operating_point:.1f} %" for finding in shown))
    findings = "AI finding" if len(shown) == 1 else "AI findings"
    return f"{findings}, present at operating point {points}"


def _where(header: Dataset, plane: ImagePlane, reference: SliceReference) -> str:
    number = next((element.value for element in taken_over(header, ("InstanceNumber",))), None)
    if reference.frame_number is not None:
        image = f"Frame {reference.frame_number}, slice"
    else:
        image = f"Image {number}, slice" if isinstance(number, int) else "Slice"
    z = f"{plane.position_mm[2]:.1f}".replace("-", "\N{MINUS SIGN}")
    return f"{image} {reference.index + 1} from the feet, z {z} mm"


def _describe(dataset: Dataset, header: Dataset, reference: SliceReference) -> None:
    """What the image is and where it comes from."""
    dataset.BodyPartExamined = "CHEST"  # also what makes Laterality superfluous (PS3.3 C.7.3.1)
    dataset.BurnedInAnnotation = "NO"
    dataset.ConversionType = "WSD"
    # Lossy once is lossy for ever (PS3.3 C.7.6.1.1.5).
    compression = taken_over(header, _LOSSY_COMPRESSION)
    lossy = any(element.keyword == _LOSSY_COMPRESSION[0] and element.value == "01" for element in compression)
    for element in compression if lossy else ():
        dataset.add(element)
    dataset.LossyImageCompression = "01" if lossy else "00"
    source_image = Dataset()
    source_image.ReferencedSOPClassUID = header.SOPClassUID
    source_image.ReferencedSOPInstanceUID = header.SOPInstanceUID
    if reference.frame_number is not None:
        source_image.ReferencedFrameNumber = reference.frame_number
    source_image.PurposeOfReferenceCodeSequence = [concept("source_of_processing")]
    dataset.SourceImageSequence = [source_image]
    dataset.DerivationDescription = "Slice in a CT window, with markers and text of an AI result"
