"""Image Library (TID 1600) of the analysed series.

What all images share stands once, in the group (TID 1602 and 1604 invoked by TID 1600), and an entry is the
reference. highdicom's own library repeats every descriptor in every entry (1 MB and seconds for 300 slices)
and needs attributes that an Enhanced CT keeps elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator

from highdicom.sr import (
    CodeContentItem,
    ContainerContentItem,
    ContentItem,
    ContentSequence,
    ImageContentItem,
    NumContentItem,
    RelationshipTypeValues,
    UIDRefContentItem,
)
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from structured_report.codes import concept
from structured_report.source import SourceStudy
from structured_report.source_text import taken_over

_CONTEXT = RelationshipTypeValues.HAS_ACQ_CONTEXT
_CONTAINS = RelationshipTypeValues.CONTAINS
_PIXELS = Code("{pixels}", "UCUM", "Pixels")


def image_library(source: SourceStudy) -> ContainerContentItem:
    """The container (111028, DCM, "Image Library") with one group of every analysed instance."""
    headers = list(source.instances.values())
    group = ContainerContentItem(name=codes.DCM.ImageLibraryGroup, relationship_type=_CONTAINS)
    group.ContentSequence = ContentSequence([*_shared(headers[0]), *map(_entry, headers)])
    library = ContainerContentItem(name=codes.DCM.ImageLibrary, relationship_type=_CONTAINS)
    library.ContentSequence = ContentSequence([group])
    return library


def _shared(header: Dataset) -> Iterator[ContentItem]:
    yield CodeContentItem(codes.DCM.Modality, codes.cid29.ComputedTomography, _CONTEXT)
    if header.get("FrameOfReferenceUID"):
        yield UIDRefContentItem(codes.DCM.FrameOfReferenceUID, header.FrameOfReferenceUID, _CONTEXT)
    yield NumContentItem(codes.DCM.PixelDataRows, header.Rows, _PIXELS, relationship_type=_CONTEXT)
    yield NumContentItem(codes.DCM.PixelDataColumns, header.Columns, _PIXELS, relationship_type=_CONTEXT)
    lengths = {element.keyword: element for element in taken_over(header, ("PixelSpacing", "SliceThickness"))}
    if "PixelSpacing" in lengths and lengths["PixelSpacing"].VM == 2:
        vertical, horizontal = lengths["PixelSpacing"].value
        yield _millimetres(codes.DCM.HorizontalPixelSpacing, horizontal)
        yield _millimetres(codes.DCM.VerticalPixelSpacing, vertical)
    if "SliceThickness" in lengths and lengths["SliceThickness"].VM == 1:
        yield _millimetres(codes.DCM.SliceThickness, lengths["SliceThickness"].value)


def _entry(header: Dataset) -> ImageContentItem:
    """TID 1601: the reference alone; where each image lies stands in the image."""
    return ImageContentItem(
        name=concept("source"),
        referenced_sop_class_uid=header.SOPClassUID,
        referenced_sop_instance_uid=header.SOPInstanceUID,
        relationship_type=_CONTAINS,
    )


def _millimetres(name: Code, value: float) -> NumContentItem:
    return NumContentItem(name, float(value), codes.UCUM.Millimeter, relationship_type=_CONTEXT)
