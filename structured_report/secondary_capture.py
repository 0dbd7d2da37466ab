"""A drawn picture as a secondary capture (PS3.3 A.8.1): a key image or a page.

No patient's identity is drawn on any, so that nothing is burned in (BurnedInAnnotation "NO").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from highdicom.sc import SCImage
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage
from pydicom.valuerep import DA, TM

from structured_report.attention import ImageKey
from structured_report.identifiers import object_uid, series_uid
from structured_report.object_header import ObjectBasis, ReportObject, complete
from structured_report.provenance import MANUFACTURER
from structured_report.references import processed_images
from structured_report.source import SourceStudy
from structured_report.source_text import empty, taken_over

_LOSSY_COMPRESSION = (
    "LossyImageCompression",
    "LossyImageCompressionRatio",
    "LossyImageCompressionMethod",
)


@dataclass(frozen=True)
class Capture:
    """A picture and what it is.

    Attributes
    ----------
    pixels
        uint8 [row, column, RGB].
    key, study_uid
        Key of work and study; the UIDs follow from the key.
    number
        Its place in the series, from 1.
    series
        SeriesDescription.
    derivation
        In a sentence what was drawn.
    images
        The images that it shows or sums up.
    orientation
        Letters of the directions of rows and columns where it is a slice; None for a page, which has none.
    pixel_spacing_mm
        (row, column) where it is a single slice in its own pixels; None for every other, in which lengths
        would be measured wrongly.
    """

    pixels: NDArray[np.uint8]
    key: str
    study_uid: str
    number: int
    series: str
    derivation: str
    images: tuple[ImageKey, ...]
    orientation: tuple[str, str] | None = None
    pixel_spacing_mm: tuple[float, float] | None = None


def secondary_capture(basis: ObjectBasis, capture: Capture) -> ReportObject:
    """The picture as a DICOM object."""
    dataset = SCImage(
        pixel_array=np.ascontiguousarray(capture.pixels),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=capture.orientation or ("L", "F"),  # asked for by highdicom; see below
        pixel_spacing=capture.pixel_spacing_mm,
        study_instance_uid=capture.study_uid,
        series_instance_uid=series_uid(capture.key, SecondaryCaptureImageStorage),
        series_number=basis.context.series_number_base + 1,
        sop_instance_uid=object_uid(capture.key, SecondaryCaptureImageStorage, capture.number),
        instance_number=capture.number,
        manufacturer=MANUFACTURER,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        series_description=capture.series,
        specific_character_set="ISO_IR 192",
    )
    complete(dataset, basis)
    if capture.orientation is None:
        dataset.add(empty("PatientOrientation"))  # type 2C
    dataset.BodyPartExamined = "CHEST"  # also what makes Laterality superfluous (PS3.3 C.7.3.1)
    dataset.BurnedInAnnotation = "NO"
    dataset.ConversionType = "WSD"
    dataset.DateOfSecondaryCapture, dataset.TimeOfSecondaryCapture = DA(basis.date), TM(basis.time)
    dataset.SourceImageSequence = _source_images(basis.source, capture.images)
    dataset.DerivationDescription = capture.derivation
    _keep_lossy(dataset, basis.source, capture.images)
    if basis.source.request_attributes:
        dataset.RequestAttributesSequence = list(basis.source.request_attributes)
    return ReportObject("sc", dataset)


def _source_images(source: SourceStudy, images: Sequence[ImageKey]) -> list[Dataset]:
    """The instances, each once, with the frames of multi-frame ones."""
    items = processed_images(source, (uid for uid, _ in images))
    for item in items:
        own = (number for uid, number in images if uid == item.ReferencedSOPInstanceUID)
        frames = [number for number in dict.fromkeys(own) if number is not None]
        if frames:
            item.ReferencedFrameNumber = frames
    return items


def _keep_lossy(dataset: Dataset, source: SourceStudy, images: Sequence[ImageKey]) -> None:
    """Lossy once is lossy for ever (PS3.3 C.7.6.1.1.5): what the first image that is says of it."""
    dataset.LossyImageCompression = "00"
    for uid, _ in images:
        said = taken_over(source.instances[uid], _LOSSY_COMPRESSION)
        if any(element.keyword == _LOSSY_COMPRESSION[0] and element.value == "01" for element in said):
            for element in said:
                dataset.add(element)
            return
