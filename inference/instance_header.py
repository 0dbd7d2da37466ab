"""What the choice of a series needs of one instance, taken from its header and nothing of the patient.

A single-frame CT has its plane at the top level; an Enhanced or Legacy Converted Enhanced CT has one for
every frame in its functional groups (PS3.3 C.7.6.16), and may hold several scans or phases.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from pydicom.dataset import Dataset
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
    MediaStorageDirectoryStorage,
)

from inference import dataset_values as values
from inference.body_region import Region, body_region
from inference.functional_groups import FrameTraits, FunctionalGroups
from inference.header_planes import planes_of_frames, single_plane
from inference.image_plane import ImagePlane
from inference.projection_words import names_projection

MULTI_FRAME = frozenset({EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage})
CT_STORAGE = frozenset({CTImageStorage, *MULTI_FRAME})

HEADER_TAGS: tuple[str, ...] = (
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "PatientID",
    "FrameOfReferenceUID",
    "Modality", "ImageType", "SeriesNumber", "InstanceNumber", "AcquisitionNumber",
    "AcquisitionDateTime", "AcquisitionDate", "AcquisitionTime", "ContentDate", "ContentTime",
    "TemporalPositionIdentifier", "TriggerTime", "NominalPercentageOfCardiacPhase",
    "NominalPercentageOfRespiratoryPhase", "KVP", "ConvolutionKernel", "SliceThickness",
    "SeriesDescription", "BodyPartExamined", "SamplesPerPixel", "PixelRepresentation", "RescaleSlope",
    "RescaleIntercept", "RescaleType", "Rows", "Columns", "NumberOfFrames", "PixelSpacing",
    "ImagePositionPatient", "ImageOrientationPatient", "VolumeBasedCalculationTechnique",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "SpecificCharacterSet",
)  # fmt: skip
"""The only elements that need to be read from a file for `InstanceHeader.from_dataset`."""


@dataclass(frozen=True)
class InstanceHeader:
    """One instance as the choice of a series sees it, or one of its frames (`frames_apart`).

    `patient` is a digest of the patient's identifier ("" without one): equal for equal patients, and no more.
    `traits` tells it apart from others of its series; those of the first frame, if it has many. `planes` is
    empty where the header does not say where its frames lie. `frame_traits` are those of each plane of a
    multi-frame instance. `region` is what its words name, `projection` whether they name a projection.
    `transfer_syntax_uid` is "" where the header did not come from a file.
    """

    sop_instance_uid: str
    sop_class_uid: str
    study_uid: str
    series_uid: str
    patient: str
    modality: str
    series_number: int | None
    instance_number: int | None
    region: Region
    projection: bool
    samples_per_pixel: int
    signed_pixels: bool
    traits: FrameTraits
    planes: tuple[ImagePlane, ...]
    frame_traits: tuple[FrameTraits, ...] = ()
    transfer_syntax_uid: str = ""

    @classmethod
    def from_dataset(cls, dataset: Dataset) -> InstanceHeader:
        """The header of an instance; `dataset` needs no pixels.

        Raises
        ------
        ValueError
            If one of the UIDs of study, series, instance or class is missing, or is none: this is no DICOM
            instance. UIDs are shown and logged; no other text of a tag is.
        """
        uids = [values.text(dataset, f"{level}UID") for level in
                ("SOPInstance", "SOPClass", "StudyInstance", "SeriesInstance")]  # fmt: skip
        if not all(map(values.is_uid, uids)):
            raise ValueError("not a DICOM instance: a UID of study, series, instance or class is missing")
        multi_frame = uids[1] in MULTI_FRAME
        frames = FunctionalGroups.of(dataset)
        planes = planes_of_frames(dataset, frames) if multi_frame else single_plane(dataset)
        return cls(
            sop_instance_uid=uids[0],
            sop_class_uid=uids[1],
            study_uid=uids[2],
            series_uid=uids[3],
            patient=_patient_digest(dataset),
            modality=values.text(dataset, "Modality"),
            series_number=values.integer(dataset, "SeriesNumber"),
            instance_number=values.integer(dataset, "InstanceNumber"),
            region=body_region(
                values.text(dataset, "SeriesDescription"), values.text(dataset, "BodyPartExamined")
            ),
            projection=names_projection(values.text(dataset, "SeriesDescription")),
            samples_per_pixel=values.integer(dataset, "SamplesPerPixel") or 1,
            signed_pixels=values.integer(dataset, "PixelRepresentation") == 1,
            traits=FrameTraits.of(frames[0], multi_frame=multi_frame),
            planes=planes,
            frame_traits=_each_once(frames) if multi_frame and planes else (),
            transfer_syntax_uid=values.text(getattr(dataset, "file_meta", Dataset()), "TransferSyntaxUID"),
        )

    @property
    def is_directory(self) -> bool:
        """A DICOMDIR lists files and is none of the study's own."""
        return self.sop_class_uid == MediaStorageDirectoryStorage

    def frames_apart(self) -> list[InstanceHeader]:
        """A header for every frame of a multi-frame instance that says where they lie; else itself."""
        if not self.frame_traits:
            return [self]
        return [
            replace(self, traits=traits, planes=(plane,), frame_traits=())
            for plane, traits in zip(self.planes, self.frame_traits, strict=True)
        ]


def _each_once(frames: list[FunctionalGroups]) -> tuple[FrameTraits, ...]:
    """The traits of each frame; equal ones are one object, since there may be thousands."""
    known: dict[FrameTraits, FrameTraits] = {}
    found = (FrameTraits.of(groups, multi_frame=True) for groups in frames)
    return tuple(known.setdefault(traits, traits) for traits in found)


def _patient_digest(dataset: Dataset) -> str:
    # Without the issuer, which some devices leave out of what they add to a study.
    identifier = values.text(dataset, "PatientID")
    return hashlib.sha256(identifier.encode("utf-8", "replace")).hexdigest()[:16] if identifier else ""
