"""The measured study in other transfer syntaxes, as one multi-frame instance, and as many small files."""

from __future__ import annotations

import subprocess
import zipfile
from collections.abc import Callable, Iterator
from copy import deepcopy
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    EnhancedCTImageStorage,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from inference.dicom_files import files_below

_BY_PYDICOM: dict[str, UID] = {"rle": RLELossless, "jpeg-ls": JPEGLSLossless, "jpeg-2000": JPEG2000Lossless}


def coded_study(archive: Path, path: Path, coding: str) -> Path:
    """The study in one of `bench.reading_cases.CODINGS`; `path` is left as it is where it exists.

    `jpeg-lossless` takes DCMTK's encoder and `htj2k` that of OpenJPH.

    Raises
    ------
    FileNotFoundError
        If the encoder is not installed.
    """
    encode = _BY_PROGRAM.get(coding) or _by_pydicom(_BY_PYDICOM[coding])
    return _written(path, (encode(image) for image in images_of(archive)))


def enhanced_study(archive: Path, path: Path) -> Path:
    """The study as one Enhanced CT (PS3.3 A.38), uncompressed; `path` is left as it is where it exists."""
    return _written(path, (_encoded(image) for image in [_enhanced(list(images_of(archive)))]))


def small_files(archive: Path, folder: Path, count: int) -> list[Path]:
    """So many files, each with a UID of its own, of the study's images; `folder` is left where it exists."""
    if not folder.is_dir():
        unfinished = folder.with_suffix(".part")
        unfinished.mkdir(parents=True, exist_ok=True)
        images = list(images_of(archive))
        for number in range(count):
            image = images[number % len(images)]
            image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = UID(f"2.25.{number + 1}")
            image.save_as(unfinished / f"IM{number:05d}", enforce_file_format=True)
        unfinished.rename(folder)
    return sorted(folder.iterdir())


def folder_study(folder: Path, path: Path) -> Path:
    """The files of a folder as a ZIP that compresses them, as senders make it."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for file in files_below(folder):
            target.write(file, file.relative_to(folder))
    return path


def images_of(archive: Path) -> Iterator[FileDataset]:
    """Every image of a ZIP, one at a time."""
    with zipfile.ZipFile(archive) as source:
        for name in source.namelist():
            yield dcmread(BytesIO(source.read(name)))


def _written(path: Path, files: Iterator[bytes]) -> Path:
    if path.is_file():
        return path
    unfinished = path.with_suffix(".part")
    with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as target:
        for number, content in enumerate(files, start=1):
            target.writestr(f"DICOM/IM{number:05d}", content)
    return unfinished.rename(path)


def _encoded(image: Dataset) -> bytes:
    content = BytesIO()
    image.save_as(content, enforce_file_format=True)
    return content.getvalue()


def _by_pydicom(syntax: UID) -> Callable[[FileDataset], bytes]:
    def encode(image: FileDataset) -> bytes:
        image.compress(syntax, generate_instance_uid=False)
        return _encoded(image)

    return encode


def _jpeg_lossless(image: FileDataset) -> bytes:
    with TemporaryDirectory() as folder:
        source, target = Path(folder) / "source", Path(folder) / "target"
        source.write_bytes(_encoded(image))
        subprocess.run(["dcmcjpeg", "+e1", source, target], check=True, capture_output=True)
        return target.read_bytes()


def _htj2k(image: FileDataset) -> bytes:
    """For unsigned pixels, as the measured study has them."""
    with TemporaryDirectory() as folder:
        source, target = Path(folder) / "image.yuv", Path(folder) / "image.j2c"
        np.frombuffer(image.PixelData, "<u2").tofile(source)
        options = ["-reversible", "true", "-num_comps", "1", "-signed", "false", "-downsamp", "{1,1}"]
        options += ["-bit_depth", str(image.BitsStored), "-dims", f"{{{image.Columns},{image.Rows}}}"]
        subprocess.run(
            ["ojph_compress", "-i", source, "-o", target, *options], check=True, capture_output=True
        )
        image.PixelData = encapsulate([target.read_bytes()])
    image["PixelData"].is_undefined_length = True
    image.file_meta.TransferSyntaxUID = HTJ2KLossless
    return _encoded(image)


_BY_PROGRAM = {"jpeg-lossless": _jpeg_lossless, "htj2k": _htj2k}


def _enhanced(images: list[FileDataset]) -> Dataset:
    """One instance whose frames lie in the order of the images, with a functional group for each."""
    first = images[0]
    enhanced = deepcopy(first)
    enhanced.SOPClassUID = enhanced.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness",
                    "SliceLocation", "RescaleSlope", "RescaleIntercept", "RescaleType"):  # fmt: skip
        if keyword in enhanced:
            delattr(enhanced, keyword)
    enhanced.NumberOfFrames = len(images)
    enhanced.PixelData = b"".join(image.PixelData for image in images)
    shared = Dataset()
    shared.PixelMeasuresSequence = _one(first, "PixelSpacing", "SliceThickness")
    shared.PlaneOrientationSequence = _one(first, "ImageOrientationPatient")
    enhanced.SharedFunctionalGroupsSequence = Sequence([shared])
    groups = []
    for image in images:
        group = Dataset()
        group.PlanePositionSequence = _one(image, "ImagePositionPatient")
        group.PixelValueTransformationSequence = _one(image, "RescaleSlope", "RescaleIntercept")
        groups.append(group)
    enhanced.PerFrameFunctionalGroupsSequence = Sequence(groups)
    return enhanced


def _one(image: Dataset, *keywords: str) -> Sequence:
    """A sequence of one item that has some attributes of an image."""
    item = Dataset()
    for keyword in keywords:
        setattr(item, keyword, image[keyword].value)
    return Sequence([item])
