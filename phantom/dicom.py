"""CT Image Storage (PS3.3 A.3) of synthetic volumes: complete headers that say what a scanner's would.

Nothing in a header or a file name tells which findings a case has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal
from uuid import NAMESPACE_URL, uuid5

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from phantom.grid import Grid
from phantom.identity import PatientIdentity
from phantom.scene import HuArray

Numbering = Literal["ascending", "descending", "shuffled"]

_UID_NAMESPACE = uuid5(NAMESPACE_URL, "urn:digital-thorax")
_IMPLEMENTATION_UID = UID(f"2.25.{uuid5(_UID_NAMESPACE, 'implementation').int}")
# Stored value 0 is the lowest Hounsfield unit of a twelve-bit image.
_INTERCEPT_HU = -1024
_WINDOWS = {"CHEST": ((-600, 1500), (40, 400)), "HEAD": ((35, 80), (500, 2500))}
_DEFAULT_WINDOW = ((50, 400),)


def derived_uid(*name: str) -> UID:
    """A UID under 2.25 (PS3.5 B.2) that follows from a name: the same name, the same UID."""
    return UID(f"2.25.{uuid5(_UID_NAMESPACE, '/'.join(name)).int}")


@dataclass(frozen=True)
class Study:
    """What all series of one study share.

    Attributes
    ----------
    key
        Names the study; all UIDs derive from it, so another key is another study of the same voxels.
    identity
        The patient.
    start
        When the study began, with its time zone.
    description
        Study Description.
    body_part
        Body Part Examined, a defined term of PS3.16 annex L; None for a quality-control object.
    procedure
        Code value and meaning in SNOMED CT; None for no Procedure Code Sequence.
    contrast
        Whether contrast agent was given.
    """

    key: str
    identity: PatientIdentity
    start: datetime
    description: str
    body_part: str | None
    procedure: tuple[str, str] | None = None
    contrast: bool = False

    @property
    def uid(self) -> UID:
        """Study Instance UID."""
        return derived_uid(self.key, "study")


@dataclass(frozen=True)
class Series:
    """What all images of one series share; `numbering` is the order of Instance Number along the body.

    `image_type` is value 3 of Image Type. `orientation` is Image Orientation (Patient); the default is axial.
    """

    number: int
    description: str
    kernel: str
    numbering: Numbering = "ascending"
    image_type: Literal["AXIAL", "LOCALIZER"] = "AXIAL"
    orientation: tuple[int, int, int, int, int, int] = (1, 0, 0, 0, 1, 0)
    kvp: int = 120

    def uid(self, study: Study) -> UID:
        """Series Instance UID."""
        return derived_uid(study.key, f"series {self.number}")


def series_datasets(planes: Iterable[HuArray], grid: Grid, study: Study, series: Series) -> Iterator[Dataset]:
    """The images of a series one by one, from the feet up, as their planes come.

    Parameters
    ----------
    planes
        int16 Hounsfield units [row, column], one for each slice of `grid`, in its order. A localizer has one.
    grid
        Where they lie.

    Yields
    ------
    pydicom.Dataset
        With its file meta information: ready to be sent or to be saved.
    """
    numbers = _instance_numbers(grid.shape[0], series.numbering, study.key)
    for index, (plane, number) in enumerate(zip(planes, numbers, strict=True)):
        yield _image(plane, grid, study, series, index=index, number=number)


def write_series(
    planes: Iterable[HuArray], grid: Grid, folder: Path, study: Study, series: Series
) -> list[Path]:
    """Write a series as DICOM files (Explicit VR Little Endian), named by series and instance number.

    Returns the paths from the feet up; `folder` is made if it is not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for dataset in series_datasets(planes, grid, study, series):
        path = folder / f"S{series.number:03d}I{dataset.InstanceNumber:05d}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def _instance_numbers(count: int, numbering: Numbering, key: str) -> list[int]:
    numbers = list(range(1, count + 1))
    if numbering == "descending":
        numbers.reverse()
    elif numbering == "shuffled":
        np.random.default_rng([*key.encode()]).shuffle(numbers)
    return numbers


def _image(plane: HuArray, grid: Grid, study: Study, series: Series, *, index: int, number: int) -> Dataset:
    image = Dataset()
    _add_patient_and_study(image, study)
    _add_series_and_equipment(image, study, series)
    _add_plane(image, grid, index, series)
    acquired = study.start + timedelta(minutes=2 * series.number, seconds=index * 0.02)
    image.SOPClassUID = CTImageStorage
    image.SOPInstanceUID = derived_uid(study.key, f"series {series.number}", f"image {index}")
    image.InstanceNumber = number
    image.ImageType = ["ORIGINAL", "PRIMARY", series.image_type]
    image.AcquisitionNumber = series.number
    image.AcquisitionDate, image.AcquisitionTime = _date(acquired), _time(acquired)
    image.ContentDate, image.ContentTime = _date(acquired), _time(acquired)
    image.BurnedInAnnotation = "NO"
    image.ImageComments = "Synthetic image: no patient, no scanner"
    if study.contrast:
        image.ContrastBolusAgent = "Synthetic contrast"
        image.ContrastBolusRoute = "Intravenous"
    _add_pixels(image, plane, study)
    image.file_meta = FileMetaDataset()
    image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.file_meta.ImplementationClassUID = _IMPLEMENTATION_UID
    image.file_meta.ImplementationVersionName = "DIGITAL_THORAX"
    return image


def _add_patient_and_study(image: Dataset, study: Study) -> None:
    """Patient, General Study and Patient Study modules (PS3.3 C.7.1.1, C.7.2.1, C.7.2.2)."""
    patient = study.identity
    image.SpecificCharacterSet = list(patient.character_set)
    image.TimezoneOffsetFromUTC = study.start.strftime("%z")
    image.PatientName = patient.name
    image.PatientID = patient.patient_id
    image.PatientBirthDate = "" if patient.birth_date is None else patient.birth_date.strftime("%Y%m%d")
    image.PatientSex = patient.sex
    if patient.birth_date is not None:
        image.PatientAge = f"{(study.start.date() - patient.birth_date).days // 365:03d}Y"
    image.StudyInstanceUID = study.uid
    image.StudyDate, image.StudyTime = _date(study.start), _time(study.start)
    image.AccessionNumber = f"SYN{uuid5(_UID_NAMESPACE, study.key + '/accession').int % 10**10:010d}"
    image.StudyID = f"{uuid5(_UID_NAMESPACE, study.key + '/id').int % 10**6:06d}"
    image.ReferringPhysicianName = "Synthetic^Referrer"
    image.StudyDescription = study.description
    if study.procedure is not None:
        code = Dataset()
        code.CodeValue, code.CodeMeaning = study.procedure
        code.CodingSchemeDesignator = "SCT"
        image.ProcedureCodeSequence = [code]


def _add_series_and_equipment(image: Dataset, study: Study, series: Series) -> None:
    """General Series, Frame of Reference, Equipment and CT Image (C.7.3.1, C.7.4.1, C.7.5.1, C.8.2.1)."""
    began = study.start + timedelta(minutes=2 * series.number)
    image.Modality = "CT"
    image.SeriesInstanceUID = series.uid(study)
    image.SeriesNumber = series.number
    image.SeriesDescription = series.description
    image.SeriesDate, image.SeriesTime = _date(began), _time(began)
    if study.body_part is None:
        image.QualityControlSubject = "YES"
        image.Laterality = ""  # unknown: nobody has a side
    else:
        image.BodyPartExamined = study.body_part
    image.PatientPosition = "HFS"
    image.ProtocolName = study.description
    image.FrameOfReferenceUID = derived_uid(study.key, "frame of reference")
    image.PositionReferenceIndicator = ""
    image.Manufacturer = "Synthetic (no scanner)"
    image.ManufacturerModelName = "Digital thorax"
    image.InstitutionName = "Synthetic Hospital"
    image.StationName = "SYNTHETIC"
    image.DeviceSerialNumber = "0"
    image.SoftwareVersions = "1"
    image.KVP = series.kvp
    image.ConvolutionKernel = series.kernel
    image.GantryDetectorTilt = 0
    image.RotationDirection = "CW"
    image.FilterType = "FLAT"
    image.ExposureTime = 500
    image.XRayTubeCurrent = 200
    image.Exposure = 100


def _add_plane(image: Dataset, grid: Grid, index: int, series: Series) -> None:
    """Image Plane module (C.7.6.2): the first voxel's centre, in the patient's LPS coordinates."""
    x, y, z = grid.origin_mm
    position = (x, y, z + index * grid.spacing_mm[0])
    if series.image_type == "LOCALIZER":  # one plane from the front, its rows falling from the head
        position = (x, 0.0, z + (grid.shape[1] - 1) * grid.spacing_mm[1])
    else:
        image.SliceLocation = f"{position[2]:.4f}"
    image.PixelSpacing = [f"{grid.spacing_mm[1]:.6g}", f"{grid.spacing_mm[2]:.6g}"]
    image.ImageOrientationPatient = list(series.orientation)
    image.ImagePositionPatient = [f"{value:.4f}" for value in position]
    image.SliceThickness = f"{grid.spacing_mm[0]:.6g}"
    image.SpacingBetweenSlices = f"{grid.spacing_mm[0]:.6g}"
    image.ReconstructionDiameter = f"{grid.shape[2] * grid.spacing_mm[2]:.6g}"


def _add_pixels(image: Dataset, plane: HuArray, study: Study) -> None:
    """Image Pixel, Modality LUT and VOI LUT (C.7.6.3, C.11.1, C.11.2): unsigned twelve bits."""
    image.SamplesPerPixel = 1
    image.PhotometricInterpretation = "MONOCHROME2"
    image.Rows, image.Columns = plane.shape
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, 12, 11
    image.PixelRepresentation = 0
    image.RescaleIntercept, image.RescaleSlope = _INTERCEPT_HU, 1
    # A localizer's values are attenuation along a ray, not Hounsfield units (PS3.3 C.8.2.1.1.6: unspecified).
    image.RescaleType = "US" if image.ImageType[2] == "LOCALIZER" else "HU"
    windows = _WINDOWS.get(study.body_part or "", _DEFAULT_WINDOW)
    image.WindowCenter = [centre for centre, _ in windows]
    image.WindowWidth = [width for _, width in windows]
    stored = np.clip(plane.astype(np.int32) - _INTERCEPT_HU, 0, 4095)
    image.PixelData = stored.astype("<u2").tobytes()


def _date(moment: datetime) -> str:
    return moment.strftime("%Y%m%d")


def _time(moment: datetime) -> str:
    return moment.strftime("%H%M%S.%f")
