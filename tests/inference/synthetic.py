"""CT files written on the spot: any orientation, any tag changed, pixels known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from inference.study_result import SeriesDecision
from inference.volume import CTVolume

STUDY = "1.2.826.0.1.3680043.8.498.1"


def ct_image(
    index: int,
    pixels: NDArray[np.int16] | None = None,
    *,
    series: str = "1",
    position: tuple[float, float, float] | None = None,
    spacing: tuple[float, float] = (0.8, 0.8),
    step_mm: float = 2.5,
    **tags: Any,
) -> Dataset:
    """One axial slice, the `index`-th from the feet, with other tags as asked for (None removes one)."""
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.SOPClassUID = CTImageStorage
    image.StudyInstanceUID = STUDY
    image.SeriesInstanceUID = f"{STUDY}.{series}"
    image.SOPInstanceUID = f"{STUDY}.{series}.{index + 1}"
    image.PatientID = "P1"
    image.Modality = "CT"
    image.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    image.SeriesNumber = 1
    image.AcquisitionNumber = 1
    image.InstanceNumber = index + 1
    image.ConvolutionKernel = "B70f"
    image.SliceThickness = step_mm
    image.PixelSpacing = list(spacing)
    image.ImagePositionPatient = list(position or (-100.0, -80.0, -300.0 + step_mm * index))
    image.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    image.RescaleSlope, image.RescaleIntercept = 1, -1024
    image.SamplesPerPixel = 1
    image.PhotometricInterpretation = "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 1
    stored = np.full((12, 16), 24, np.int16) if pixels is None else pixels
    image.Rows, image.Columns = stored.shape
    image.PixelData = stored.tobytes()
    for name, value in tags.items():
        if value is None:
            delattr(image, name)
        else:
            setattr(image, name, value)
    image.file_meta.MediaStorageSOPClassUID = image.get("SOPClassUID", CTImageStorage)
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    return image


def ct_series(
    count: int = 24, change: Callable[[int], dict[str, Any]] | None = None, **tags: Any
) -> list[Dataset]:
    """A series of slices; `change` gives further tags of each."""
    return [ct_image(index, **{**tags, **(change(index) if change else {})}) for index in range(count)]


def save(images: list[Dataset], folder: Path) -> list[Path]:
    """The images as files whose names say nothing about their order."""
    folder.mkdir(parents=True, exist_ok=True)
    names = np.random.default_rng(5).permutation(len(images))
    paths = [folder / f"{name:04d}" for name in names]
    for image, path in zip(images, paths, strict=True):
        image.save_as(path, enforce_file_format=True)
    return paths


def volume_of(voxels: NDArray[np.int16], spacing_mm: tuple[float, float, float], **changes: Any) -> CTVolume:
    """A volume [slice, row, column] along the patient's axes."""
    depth, row, column = spacing_mm
    values: dict[str, Any] = {
        "voxels_hu": voxels,
        "affine": np.diag([column, row, depth, 1.0]),
        "spacing_mm": spacing_mm,
        "sop_instance_uids": tuple(f"{STUDY}.1.{index + 1}" for index in range(len(voxels))),
        "frame_numbers": (None,) * len(voxels),
        "study_uid": STUDY,
        "series_uid": f"{STUDY}.1",
        "warnings": (),
    }
    return CTVolume(**{**values, **changes})


def decision_of(decisions: tuple[SeriesDecision, ...], series: str) -> SeriesDecision:
    """What was decided about one of the series written here."""
    return next(item for item in decisions if item.series_uid == f"{STUDY}.{series}")
