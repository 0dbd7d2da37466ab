"""Source headers as highdicom takes them: it fails without type 2 attributes, and would copy undecoded text.

What it would take over of patient and study is left empty here; `object_header.complete` writes it.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy

from pydicom.dataset import Dataset

from structured_report.codes import concept
from structured_report.source import TYPE_2, SourceStudy

_IDENTITY = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
_GEOMETRY = (
    *("Modality", "FrameOfReferenceUID", "PositionReferenceIndicator", "Rows", "Columns", "NumberOfFrames"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"),
    *("SpacingBetweenSlices", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
    *("DimensionOrganizationSequence", "DimensionIndexSequence"),
)


def imaging_header(header: Dataset) -> Dataset:
    """What an object that lies on an image needs of it: which image it is, and where in the patient."""
    taken = Dataset()
    for keyword in (*_IDENTITY, *_GEOMETRY):
        if keyword in header:
            taken[keyword] = deepcopy(header[keyword])
    for keyword in TYPE_2:
        setattr(taken, keyword, None)
    return taken


def processed_images(source: SourceStudy, uids: Iterable[str]) -> list[Dataset]:
    """Items of SourceImageSequence or SourceInstanceSequence (PS3.3 C.7.6.1): the instances, each once."""
    items = []
    for uid in dict.fromkeys(uids):
        item = Dataset()
        item.ReferencedSOPClassUID = source.instances[uid].SOPClassUID
        item.ReferencedSOPInstanceUID = uid
        item.PurposeOfReferenceCodeSequence = [concept("source_of_processing")]
        items.append(item)
    return items


def placed(source: SourceStudy) -> bool:
    """Whether the images name the frame of reference in which an object could lie on them."""
    return all(header.get("FrameOfReferenceUID") for header in source.instances.values())
