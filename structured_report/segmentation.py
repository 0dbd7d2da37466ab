"""Saliency as a Segmentation (PS3.3 A.51): a segment for each located finding, on the source's own pixels.

Of a large series there is room for some: the most dangerous ones, and the series says how many of how many.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from highdicom import AlgorithmIdentificationSequence
from highdicom.color import CIELabColor
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentationTypeValues, SegmentDescription
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import SegmentationStorage

from inference.study_result import StudyResult
from structured_report.attention import Attention, ImageKey
from structured_report.codes import finding_code
from structured_report.identifiers import dimension_uid, object_uid, series_uid, tracking_uid
from structured_report.image_plane import image_plane
from structured_report.language import short
from structured_report.object_header import (
    ReportBasis,
    ReportObject,
    complete,
    name_dimensions,
    series_description,
)
from structured_report.provenance import MANUFACTURER
from structured_report.reading_order import in_reading_order
from structured_report.references import imaging_header, placed
from structured_report.source import SourceStudy

MOST_PIXELS = 1_000_000_000
"""Of all segments on all images: 125 MB of bits, and 1 GB while the object is made."""

_ALGORITHM_FAMILY = codes.cid7162.ArtificialIntelligence
_COLOURS = ((255, 191, 64), (86, 180, 233), (0, 158, 115), (204, 121, 167), (213, 94, 0))


def drawn_findings(result: StudyResult, images: int, rows: int, columns: int) -> tuple[str, ...]:
    """The located findings for which a segmentation of so many images has room, in reading order."""
    located = [finding.name for finding in in_reading_order(result.findings) if finding.region is not None]
    return tuple(located[: max(1, MOST_PIXELS // (images * rows * columns))])


def segmentation(basis: ReportBasis, attention: Sequence[Attention]) -> list[ReportObject]:
    """One object with a segment for each finding that reaches an image; none where none does.

    `attention` has masks of the `drawn_findings` alone. There is none either of images that name no frame
    of reference, in which nothing can be placed, and of one image alone that does not say how thick it is.
    """
    drawn = [item for item in attention if item.masks]
    if not drawn or not placed(basis.source):
        return []
    result, ensemble, words = basis.result, basis.algorithms[0], basis.words
    what = words.sentence("attention")
    if len(drawn) < len(attention):
        what = f"{what} {len(drawn)}/{len(attention)}"
    headers, pixels = _pixels(basis, drawn)
    if not _with_thickness(headers, basis.source):
        return []
    dataset = Segmentation(
        source_images=headers,
        pixel_array=pixels,
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=[_segment(basis, item, number) for number, item in enumerate(drawn, start=1)],
        series_instance_uid=series_uid(result.key, SegmentationStorage),
        series_number=basis.context.series_number_base + 2,
        sop_instance_uid=object_uid(result.key, SegmentationStorage, 1),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=ensemble.model,
        software_versions=ensemble.version,
        device_serial_number=ensemble.uid,
        content_label="ATTENTION",
        content_description=words.sentence("attention_notice"),
        series_description=series_description(result, what, words),
    )
    complete(dataset, basis)
    name_dimensions(dataset, dimension_uid(result.key, SegmentationStorage, 1))
    return [ReportObject("seg", dataset)]


def _segment(basis: ReportBasis, attention: Attention, number: int) -> SegmentDescription:
    ensemble, coding, words = basis.algorithms[0], finding_code(attention.finding), basis.words
    finding = words.finding(attention.finding)
    description = SegmentDescription(
        segment_number=number,
        segment_label=short(words.sentence("attention_to", finding=finding)),
        segmented_property_category=codes.cid7150.SpatialAndRelationalConcept,
        segmented_property_type=codes.DCM.Saliency,
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=AlgorithmIdentificationSequence(
            name=ensemble.model, family=_ALGORITHM_FAMILY, version=ensemble.version, source=MANUFACTURER
        ),
        tracking_uid=tracking_uid(basis.result.key, attention.finding),
        tracking_id=finding,
        anatomic_regions=[coding.site] if coding.site is not None else None,
        display_color=CIELabColor.from_rgb(*_COLOURS[(number - 1) % len(_COLOURS)]),
    )
    description.SegmentDescription = words.sentence("attention_notice")
    return description


def _pixels(basis: ReportBasis, attention: Sequence[Attention]) -> tuple[list[Dataset], NDArray[np.bool_]]:
    """Headers of the instances that any segment reaches, and [image, row, column, segment]."""
    reached = {uid for item in attention for uid, _ in item.masks}
    instances = {uid: header for uid, header in basis.source.instances.items() if uid in reached}
    keys = [key for uid, header in instances.items() for key in _images(uid, header)]
    first = next(iter(attention[0].masks.values()))
    pixels = np.zeros((len(keys), *first.shape, len(attention)), dtype=bool)
    for segment, item in enumerate(attention):
        for image, key in enumerate(keys):
            if key in item.masks:
                pixels[image, :, :, segment] = item.masks[key]
    return [imaging_header(header) for header in instances.values()], pixels


def _with_thickness(headers: Sequence[Dataset], source: SourceStudy) -> bool:
    """Give single images without a thickness the distance of the slices for it; False where there is none.

    A segmentation of a volume must state it (PS3.3 C.7.6.16.2.1).
    """
    lacking = [
        header
        for header in headers
        if header.get("NumberOfFrames") is None and not header.get("SliceThickness")
    ]
    if not lacking:
        return True
    planes = [image_plane(header, None) for header in source.instances.values()]
    normal = np.cross(planes[0].row_direction, planes[0].column_direction)
    gaps = np.diff(np.sort([normal @ plane.position_mm for plane in planes]))
    distance = round(float(np.median(gaps)), 4) if gaps.size else 0.0
    for header in lacking:
        header.SliceThickness = distance
    return distance > 0


def _images(uid: str, header: Dataset) -> list[ImageKey]:
    """Every image of an instance."""
    if header.get("NumberOfFrames") is None:
        return [(uid, None)]
    return [(uid, number) for number in range(1, int(header.NumberOfFrames) + 1)]
