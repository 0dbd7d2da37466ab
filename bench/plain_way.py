"""A study from ZIP to encoder input the plain way, to compare with: one process, a library's call a step.

It reads studies of this bench and no others: nothing is checked, limited, sheared or refused, and
lungs are not looked for.
"""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from torch import Tensor

from models.manifest import InputSpec


def plain_encoder_input(archive: Path, spec: InputSpec) -> Tensor:
    """The largest series of the ZIP (single-frame, axial, evenly spaced) as encoder input (z, x, y)."""
    with TemporaryDirectory(dir=archive.parent) as folder:
        with zipfile.ZipFile(archive) as members:
            members.extractall(folder)
        images = [dcmread(path) for path in sorted(Path(folder).rglob("*")) if _is_dicom(path)]
        largest, _ = Counter(image.SeriesInstanceUID for image in images).most_common(1)[0]
        images = [image for image in images if image.SeriesInstanceUID == largest]
        images.sort(key=lambda image: float(image.ImagePositionPatient[2]))
        hu = np.stack([_hounsfield(image) for image in images])
    return _prepared(hu, _spacing_mm(images), spec)


def plain_headers(files: Sequence[Path]) -> int:
    """How many of the files have a header, one read after the other."""
    return sum("SOPInstanceUID" in dcmread(file, stop_before_pixels=True) for file in files)


def _is_dicom(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(132).endswith(b"DICM")


def _hounsfield(image: Dataset) -> NDArray[np.float32]:
    hu: NDArray[np.float32] = image.pixel_array.astype(np.float32)
    return hu * np.float32(image.RescaleSlope) + np.float32(image.RescaleIntercept)


def _spacing_mm(images: Sequence[Dataset]) -> tuple[float, float, float]:
    bottom, top = (float(images[index].ImagePositionPatient[2]) for index in (0, -1))
    row, column = (float(step) for step in images[0].PixelSpacing)
    return (top - bottom) / (len(images) - 1), row, column


def _prepared(hu: NDArray[np.float32], spacing_mm: Sequence[float], spec: InputSpec) -> Tensor:
    """As `inference.encoder_input` defines it: clipped, resampled trilinearly, cropped or padded."""
    target_mm = (spec.spacing_mm[0], spec.spacing_mm[2], spec.spacing_mm[1])
    size = [
        int(np.float32(count) * (np.float32(step) / np.float32(target)))
        for count, step, target in zip(hu.shape, spacing_mm, target_mm, strict=True)
    ]
    volume = torch.from_numpy(np.clip(hu, -1000, 1000) / 1000)[None, None]
    resampled = F.interpolate(volume, size=size, mode="trilinear", align_corners=False)[0, 0].transpose(1, 2)
    for axis, wanted in enumerate(spec.shape):
        start = max(resampled.shape[axis] - wanted, 0) // 2
        resampled = resampled.narrow(axis, start, min(wanted, resampled.shape[axis]))
    padding = [
        side
        for wanted, kept in zip(reversed(spec.shape), reversed(resampled.shape), strict=True)
        for side in ((wanted - kept) // 2, wanted - kept - (wanted - kept) // 2)
    ]
    return F.pad(resampled, padding, value=-1.0).contiguous()
