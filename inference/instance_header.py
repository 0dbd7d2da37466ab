"""What the choice of a series needs of one instance, taken from its header and nothing of the patient.

A single-frame CT has its plane at the top level; an Enhanced or Legacy Converted Enhanced CT has one for
every frame in its functional groups (PS3.3 C.7.6.16). Headers come from strangers: a value that cannot be
read counts as absent, so that a bad tag costs at most its own instance.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
    MediaStorageDirectoryStorage,
)

from inference.body_region import Region, body_region
from inference.slice_stack import ImagePlane

CT_STORAGE = frozenset({CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage})

UNREADABLE_VALUE = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    OverflowError,
    LookupError,
    NotImplementedError,
    RecursionError,
    UserWarning,
)
"""What pydicom raises when a stranger's value is asked for."""

FIELD_MM = (1.0, 2000.0)
"""Length of an image's sides that a CT can have; any other is a mistake of the header (or an attack)."""

FARTHEST_MM = 10_000.0
"""A table's travel from the origin; no patient lies farther."""

HEADER_TAGS: tuple[str, ...] = (
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "PatientID",
    "Modality", "ImageType", "SeriesNumber", "InstanceNumber", "AcquisitionNumber",
    "AcquisitionDateTime", "AcquisitionDate", "AcquisitionTime", "ContentTime",
    "TemporalPositionIdentifier", "TriggerTime", "NominalPercentageOfCardiacPhase", "KVP",
    "ConvolutionKernel", "SliceThickness", "SeriesDescription", "BodyPartExamined", "SamplesPerPixel",
    "RescaleType", "Rows", "Columns", "NumberOfFrames", "PixelSpacing", "ImagePositionPatient",
    "ImageOrientationPatient", "VolumeBasedCalculationTechnique", "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence", "SpecificCharacterSet",
)  # fmt: skip
"""The only elements that need to be read from a file for `InstanceHeader.from_dataset`."""


@dataclass(frozen=True)
class InstanceHeader:
    """One instance as the choice of a series sees it.

    `patient` is a digest of the patient's identifier ("" without one): equal for equal patients, and no more.
    `transfer_syntax_uid` is "" where the header did not come from a file. `phase` tells apart images of one
    position within a series (time, cardiac phase). `planes` is empty where
    the header does not say where its frames lie. `region` is what its words name. Lengths are mm.
    """

    sop_instance_uid: str
    sop_class_uid: str
    study_uid: str
    series_uid: str
    patient: str
    modality: str
    image_type: tuple[str, ...]
    series_number: int | None
    instance_number: int | None
    acquisition_number: int | None
    acquisition_time: str
    phase: str
    kvp: float | None
    kernel: str
    slice_thickness_mm: float | None
    region: Region
    samples_per_pixel: int
    rescale_type: str
    frames: int
    planes: tuple[ImagePlane, ...]
    transfer_syntax_uid: str = ""

    @classmethod
    def from_dataset(cls, dataset: Dataset) -> InstanceHeader:
        """The header of an instance; `dataset` needs no pixels.

        Raises
        ------
        ValueError
            If one of the UIDs of study, series, instance or class is missing: this is no DICOM instance.
        """
        uids = [_text(dataset, f"{level}UID") for level in
                ("SOPInstance", "SOPClass", "StudyInstance", "SeriesInstance")]  # fmt: skip
        if not all(uids):
            raise ValueError("not a DICOM instance: a UID of study, series, instance or class is missing")
        frame_groups = _items(dataset, "PerFrameFunctionalGroupsSequence")
        shared = next(iter(_items(dataset, "SharedFunctionalGroupsSequence")), Dataset())
        first = _Groups(frame_groups[0] if frame_groups else Dataset(), shared, dataset)
        enhanced = uids[1] in {EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage}
        image_type = (*_texts(dataset, "ImageType"), *(first.frame_type() if enhanced else ()))
        return cls(
            sop_instance_uid=uids[0],
            sop_class_uid=uids[1],
            study_uid=uids[2],
            series_uid=uids[3],
            patient=_patient_digest(dataset),
            modality=_text(dataset, "Modality"),
            image_type=tuple(value.upper() for value in image_type),
            series_number=_integer(dataset, "SeriesNumber"),
            instance_number=_integer(dataset, "InstanceNumber"),
            acquisition_number=_integer(dataset, "AcquisitionNumber"),
            acquisition_time=_acquisition_time(dataset),
            phase="/".join(_text(dataset, name) for name in
                           ("TemporalPositionIdentifier", "NominalPercentageOfCardiacPhase", "TriggerTime")),
            kvp=_number(dataset, "KVP"),
            kernel=first.text("CTReconstructionSequence", "ConvolutionKernel"),
            slice_thickness_mm=first.number("PixelMeasuresSequence", "SliceThickness"),
            region=body_region(_text(dataset, "SeriesDescription"), _text(dataset, "BodyPartExamined")),
            samples_per_pixel=_integer(dataset, "SamplesPerPixel") or 1,
            rescale_type=first.text("PixelValueTransformationSequence", "RescaleType").upper(),
            frames=_integer(dataset, "NumberOfFrames") or 1,
            planes=_planes(dataset, frame_groups, shared) if enhanced else _single_plane(dataset),
            transfer_syntax_uid=_text(getattr(dataset, "file_meta", Dataset()), "TransferSyntaxUID"),
        )  # fmt: skip

    @property
    def is_directory(self) -> bool:
        """A DICOMDIR lists files and is none of the study's own."""
        return self.sop_class_uid == MediaStorageDirectoryStorage


@dataclass(frozen=True)
class _Groups:
    """The functional groups of one frame: its own before the shared ones, before the top level."""

    frame: Dataset
    shared: Dataset
    top: Dataset

    def holder(self, group: str, keyword: str) -> Dataset:
        """The dataset that holds `keyword`, empty if none does."""
        candidates = [*_items(self.frame, group), *_items(self.shared, group), self.top]
        return next((item for item in candidates if keyword in item), Dataset())

    def text(self, group: str, keyword: str) -> str:
        return "\\".join(_texts(self.holder(group, keyword), keyword))

    def number(self, group: str, keyword: str) -> float | None:
        return _number(self.holder(group, keyword), keyword)

    def numbers(self, group: str, keyword: str, count: int) -> tuple[float, ...] | None:
        return _numbers(self.holder(group, keyword), keyword, count)

    def frame_type(self) -> tuple[str, ...]:
        technique = _text(self.top, "VolumeBasedCalculationTechnique")
        return (*_texts(self.holder("CTImageFrameTypeSequence", "FrameType"), "FrameType"), technique)


def _planes(dataset: Dataset, frames: Sequence[Dataset], shared: Dataset) -> tuple[ImagePlane, ...]:
    """One plane for every frame, or none at all if any frame's place is unknown."""
    planes = [
        _plane(_Groups(frame, shared, Dataset()), dataset, number) for number, frame in enumerate(frames, 1)
    ]
    known = tuple(plane for plane in planes if plane is not None)
    return known if len(known) == len(planes) == (_integer(dataset, "NumberOfFrames") or 1) else ()


def _single_plane(dataset: Dataset) -> tuple[ImagePlane, ...]:
    plane = _plane(_Groups(Dataset(), Dataset(), dataset), dataset, None)
    return () if plane is None else (plane,)


def _plane(groups: _Groups, dataset: Dataset, frame_number: int | None) -> ImagePlane | None:
    position = groups.numbers("PlanePositionSequence", "ImagePositionPatient", 3)
    orientation = groups.numbers("PlaneOrientationSequence", "ImageOrientationPatient", 6)
    spacing = groups.numbers("PixelMeasuresSequence", "PixelSpacing", 2)
    rows, columns = _integer(dataset, "Rows"), _integer(dataset, "Columns")
    if position is None or orientation is None or spacing is None or not rows or not columns:
        return None
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    fields = rows * spacing[0], columns * spacing[1]
    if min(fields) < FIELD_MM[0] or max(fields) > FIELD_MM[1] or np.abs(position).max() > FARTHEST_MM:
        return None
    if not np.allclose(lengths, 1, atol=0.05) or abs(row @ column) > 0.01:
        return None
    direction = tuple(float(value) for value in (*(row / lengths[0]), *(column / lengths[1])))
    return ImagePlane(
        sop_instance_uid=_text(dataset, "SOPInstanceUID"),
        frame_number=frame_number,
        position_mm=(position[0], position[1], position[2]),
        orientation=direction,  # type: ignore[arg-type]  # six values by construction
        pixel_spacing_mm=(spacing[0], spacing[1]),
        rows=rows,
        columns=columns,
    )


def _patient_digest(dataset: Dataset) -> str:
    # Without the issuer, which some devices leave out of what they add to a study.
    identifier = _text(dataset, "PatientID")
    return hashlib.sha256(identifier.encode("utf-8", "replace")).hexdigest()[:16] if identifier else ""


def _acquisition_time(dataset: Dataset) -> str:
    moment = _text(dataset, "AcquisitionDateTime")
    return moment or _text(dataset, "AcquisitionDate") + _text(dataset, "AcquisitionTime")


def _value(dataset: Dataset, keyword: str) -> Any:
    try:
        return dataset.get(keyword)
    except UNREADABLE_VALUE:
        return None


def _items(dataset: Dataset, keyword: str) -> list[Dataset]:
    value = _value(dataset, keyword)
    try:
        return [item for item in value if isinstance(item, Dataset)] if value else []
    except UNREADABLE_VALUE:
        return []


def _texts(dataset: Dataset, keyword: str) -> tuple[str, ...]:
    value = _value(dataset, keyword)
    if value is None:
        return ()
    values = [value] if isinstance(value, str) or not isinstance(value, Sequence) else list(value)
    return tuple(str(item).strip(" \0") for item in values)


def _text(dataset: Dataset, keyword: str) -> str:
    return "\\".join(_texts(dataset, keyword))


def _numbers(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    try:
        values = tuple(float(text) for text in _texts(dataset, keyword))
    except ValueError:
        return None
    return values if len(values) == count and np.isfinite(values).all() else None


def _number(dataset: Dataset, keyword: str) -> float | None:
    values = _numbers(dataset, keyword, 1)
    return None if values is None else values[0]


def _integer(dataset: Dataset, keyword: str) -> int | None:
    value = _number(dataset, keyword)
    return None if value is None else int(value)
