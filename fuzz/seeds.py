"""Sound inputs to begin with: a small digital thorax in the encodings that a CT can have."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Sequence
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from fuzz.http_request import HttpRequest
from phantom.cases import Case
from phantom.grid import centred_grid
from phantom.studies import chest_study

_NATIVE = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
)
_COMPRESSED = (RLELossless, JPEGLSLossless, JPEGLSNearLossless, JPEG2000Lossless)
_ENCODED = Path(__file__).resolve().parent / "encoded"
"""The same slice by encoders that are no part of Python: dcmtk (JPEG), OpenJPH (HTJ2K)."""

_SLICES = 24
_GRID = ((14.0, 12.0, 12.0), (_SLICES, 32, 32))


@cache
def chest() -> tuple[Dataset, ...]:
    """The images of one series: both lungs in 24 slices of 32 x 32."""
    return tuple(chest_study(Case(3, ()), grid=centred_grid(*_GRID)).datasets())


@cache
def multi_frame(step: int = 1) -> Dataset:
    """The same series as one Enhanced CT (PS3.3 A.38), of every so-many-th row and column."""
    images = chest()
    whole = deepcopy(images[0])
    whole.SOPClassUID = whole.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness",
                    "RescaleSlope", "RescaleIntercept", "RescaleType"):  # fmt: skip
        delattr(whole, keyword)
    first = images[0]
    shared = Dataset()
    shared.PixelMeasuresSequence = [_part(first, "PixelSpacing", "SliceThickness")]
    shared.PixelMeasuresSequence[0].PixelSpacing = [step * float(value) for value in first.PixelSpacing]
    shared.PlaneOrientationSequence = [_part(first, "ImageOrientationPatient")]
    shared.CTReconstructionSequence = [_part(first, "ConvolutionKernel")]
    frames = []
    for number, image in enumerate(images, 1):
        frame = Dataset()
        frame.PlanePositionSequence = [_part(image, "ImagePositionPatient")]
        frame.PixelValueTransformationSequence = [
            _part(image, "RescaleSlope", "RescaleIntercept", "RescaleType")
        ]
        content = Dataset()
        content.StackID, content.InStackPositionNumber, content.TemporalPositionIndex = "1", number, 1
        frame.FrameContentSequence = [content]
        frames.append(frame)
    whole.SharedFunctionalGroupsSequence, whole.PerFrameFunctionalGroupsSequence = [shared], frames
    whole.NumberOfFrames = len(images)
    pixels = np.stack([image.pixel_array[::step, ::step] for image in images])
    whole.Rows, whole.Columns = pixels.shape[1:]
    whole.PixelData = pixels.tobytes()
    return whole


@cache
def instances() -> list[bytes]:
    """One slice in every transfer syntax that a CT can have, and a multi-frame instance, plain and RLE."""
    middle = chest()[_SLICES // 2]
    single = [encoded(middle, syntax) for syntax in (*_NATIVE, *_COMPRESSED)]
    single += [path.read_bytes() for path in sorted(_ENCODED.iterdir())]
    return [*single, encoded(multi_frame(4), ExplicitVRLittleEndian), encoded(multi_frame(4), RLELossless)]


@cache
def studies() -> list[bytes]:
    """Whole series in a ZIP: plain, compressed, multi-frame, two series, and one with a slice twice."""
    plain = [encoded(image, ExplicitVRLittleEndian) for image in chest()]
    other = []
    for image in map(deepcopy, chest()):
        image.SeriesInstanceUID += ".1"
        image.SOPInstanceUID = UID(f"{image.SOPInstanceUID[:60]}.1")
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
        image.ConvolutionKernel = "LUNG"
        other.append(encoded(image, ImplicitVRLittleEndian))
    return [
        packed(plain),
        packed([encoded(image, JPEGLSLossless) for image in chest()]),
        packed([encoded(multi_frame(), ExplicitVRLittleEndian)]),
        packed([*plain, *other]),
        packed([*plain, plain[3]]),
    ]


@cache
def archives() -> list[bytes]:
    """ZIPs as packers write them: stored, deflated, in folders, with a ZIP in it, with ZIP64, empty."""
    files = [encoded(image, ExplicitVRLittleEndian) for image in chest()[:3]]
    inner = packed(files[:2])
    streamed = io.BytesIO()
    with zipfile.ZipFile(streamed, "w") as archive, archive.open("IM1", "w", force_zip64=True) as member:
        member.write(files[0])
    return [
        packed(files, method=zipfile.ZIP_STORED),
        packed(files, folder="DICOM/ST1"),
        packed([*files[:1], inner]),
        packed([b"", b"no DICOM", inner], method=zipfile.ZIP_STORED),
        streamed.getvalue(),
        packed([]),
    ]


@cache
def volumes() -> list[bytes]:
    """A NIfTI volume: NIfTI-1 and NIfTI-2, plain and gzipped, int16, float32 and scaled uint8."""
    hu = np.stack([image.pixel_array.astype(np.int16) - 1024 for image in chest()]).transpose(2, 1, 0)
    affine = np.diag([-12.0, -12.0, 14.0, 1.0])
    first: Any = nibabel.Nifti1Image
    second: Any = nibabel.Nifti2Image
    whole = first(hu, affine)
    floating = first(hu[::2, ::2].astype(np.float32) + 0.25, np.diag([24.0, -24.0, 14.0, 1.0]))
    turned = second(hu[::2, ::2], affine[[2, 0, 1, 3]])
    scaled = first((hu[::2, ::2] / 16 + 128).astype(np.uint8), affine)
    scaled.header.set_slope_inter(16.0, -2048.0)
    plain = [image.to_bytes() for image in (whole, floating, turned, scaled)]
    return [*plain, gzip.compress(plain[0], mtime=0), gzip.compress(plain[2], mtime=0)]


@cache
def requests() -> list[bytes]:
    """Uploads of studies and of volumes, with details or objects asked for, and other addresses."""
    plain, compressed, enhanced = studies()[:3]
    volume, squeezed = volumes()[2], volumes()[-1]
    zipped = [(b"accept", b"application/zip")]
    found = [
        _upload(b"/predict?details=true", plain, "study.zip"),
        _upload(b"/predict", compressed, "study.zip", zipped),
        _upload(b"/predict", enhanced, "study.zip", zipped),
        _upload(b"/predict?study_uid=1.2.3", packed([b"no DICOM"]), "study.zip"),
        _upload(b"/predict_nifti?details=true", volume, "volume.nii"),
        _upload(b"/predict_nifti", squeezed, "volume.nii.gz"),
    ]
    hint = b'{"orthanc_id": "%s"}' % b"-".join([b"01234567"] * 5)
    json = [_HOST, (b"content-type", b"application/json")]
    found.append(HttpRequest(b"POST", b"/intake/stable-study", json, hint))
    found += [
        HttpRequest(b"GET", path, [_HOST], b"")
        for path in (b"/studies?limit=5", b"/studies/1.2", b"/metrics")
    ]
    return [request.to_bytes() for request in found]


_HOST = (b"host", b"127.0.0.1")


def _upload(
    target: bytes, content: bytes, name: str, headers: Sequence[tuple[bytes, bytes]] = ()
) -> HttpRequest:
    """A multipart request as a browser writes it (RFC 7578)."""
    disposition = f'Content-Disposition: form-data; name="file"; filename="{name}"'.encode()
    body = (
        b"--x\r\n"
        + disposition
        + b"\r\nContent-Type: application/octet-stream\r\n\r\n"
        + content
        + b"\r\n--x--\r\n"
    )
    kind = (b"content-type", b"multipart/form-data; boundary=x")
    return HttpRequest(b"POST", target, [_HOST, kind, *headers], body)


def encoded(image: Dataset, syntax: UID) -> bytes:
    """A file of an uncompressed image in a transfer syntax."""
    image = deepcopy(image)
    if syntax in _COMPRESSED:
        image.compress(syntax, generate_instance_uid=False)
    elif syntax == ExplicitVRBigEndian:
        image.PixelData = np.frombuffer(image.PixelData, "<u2").astype(">u2").tobytes()
    image.file_meta.TransferSyntaxUID = syntax
    buffer = io.BytesIO()
    image.save_as(
        buffer,
        implicit_vr=syntax == ImplicitVRLittleEndian,
        little_endian=syntax != ExplicitVRBigEndian,
        enforce_file_format=True,
    )
    return buffer.getvalue()


def packed(files: Sequence[bytes], *, method: int = zipfile.ZIP_DEFLATED, folder: str = "") -> bytes:
    """Files in a ZIP, under numbers for names."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for number, content in enumerate(files):
            name = zipfile.ZipInfo(f"{folder}/{number:03}" if folder else f"{number:03}")
            name.compress_type = method
            archive.writestr(name, content)
    return buffer.getvalue()


def _part(image: Dataset, *keywords: str) -> Dataset:
    part = Dataset()
    for keyword in keywords:
        setattr(part, keyword, image[keyword].value)
    return part
