"""Single-frame images joined into Enhanced CT instances (PS3.3 A.38.1), with all that tells frames apart."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import EnhancedCTImageStorage

_SHARED: dict[str, tuple[str, ...]] = {
    "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness"),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "CTReconstructionSequence": ("ConvolutionKernel",),
}
_EACH: dict[str, tuple[str, ...]] = {
    "PlanePositionSequence": ("ImagePositionPatient",),
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept", "RescaleType"),
}
_OF_A_FRAME = {keyword for group in (_SHARED, _EACH) for keywords in group.values() for keyword in keywords}


def as_enhanced(
    images: list[Dataset], *, uid: str, sop_class: str = EnhancedCTImageStorage, shared: bool = True
) -> Dataset:
    """One multi-frame instance of images of one matrix, uncompressed; `shared`: what is common is so kept."""
    joined = deepcopy(images[0])
    for keyword in _OF_A_FRAME:
        if keyword in joined:
            delattr(joined, keyword)
    joined.SOPClassUID = joined.file_meta.MediaStorageSOPClassUID = sop_class
    joined.SOPInstanceUID = joined.file_meta.MediaStorageSOPInstanceUID = uid
    joined.NumberOfFrames = len(images)
    joined.PixelData = b"".join(image.PixelData for image in images)
    joined.SharedFunctionalGroupsSequence = [_groups(images[0], _SHARED) if shared else Dataset()]
    joined.PerFrameFunctionalGroupsSequence = [
        _groups(image, _EACH if shared else {**_SHARED, **_EACH}) for image in images
    ]
    return joined


def put(group: Dataset, name: str, value: Any) -> None:
    """Set an attribute of a functional group, named "Sequence.Attribute"."""
    sequence, keyword = name.split(".")
    if sequence not in group:
        setattr(group, sequence, [Dataset()])
    setattr(getattr(group, sequence)[0], keyword, value)


def _groups(image: Dataset, attributes: dict[str, tuple[str, ...]]) -> Dataset:
    groups = Dataset()
    for sequence, keywords in attributes.items():
        for keyword in keywords:
            if keyword in image:
                put(groups, f"{sequence}.{keyword}", image[keyword].value)
    return groups
