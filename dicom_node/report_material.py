"""What the objects of a result are made of beside it: headers, key slices, attention, an overview.

All of it is read again from the files of the work and of the result, so that a report can be made after a
restart.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from dicom_node.errors import NodeError
from inference.decoding import decode_frame
from inference.dicom_files import each_header, read_header, source_headers
from inference.image_plane import ImagePlane
from inference.overview import CoronalOverview
from inference.saliency_file import StoredSaliency, read_saliency
from inference.saliency_masks import saliency_masks
from inference.study_result import SliceReference, StudyResult
from structured_report import Attention, KeySliceImages, Overview, drawn_findings


class UnreadableKeySlice(NodeError):  # noqa: N818 - as the rest of its tree
    """A slice that was analysed cannot be decoded once more."""


@dataclass(frozen=True)
class ReportMaterial:
    """As `structured_report.build_objects` takes it."""

    headers: Sequence[Dataset]
    slices: KeySliceImages
    attention: Sequence[Attention]
    overview: Overview | None


def report_material(
    result: StudyResult, paths: Mapping[str, Path], saliency_file: Path, *, with_attention: bool
) -> ReportMaterial:
    """Everything that objects about `result` are made of.

    Parameters
    ----------
    paths
        The file of each analysed instance, by SOP Instance UID.
    saliency_file
        The file beside the result; absent for answers of versions that did not write it.
    with_attention
        Whether attention is wanted on every image, and not on the key slices alone.

    Raises
    ------
    UnreadableKeySlice
        If a key slice cannot be decoded once more; VolumeRefusal if a header cannot be read.
    """
    files = [paths[uid] for uid in result.image_sop_instance_uids]
    headers = source_headers(files)
    stored = read_saliency(saliency_file.read_bytes()) if saliency_file.exists() else None
    attention: list[Attention] = []
    if stored is not None and with_attention:
        planes = [plane for _, header in each_header(files) if header is not None for plane in header.planes]
        attention = _attention(result, stored, planes)
    return ReportMaterial(
        headers=headers,
        slices=_key_slices(result, paths, stored),
        attention=attention,
        overview=_overview(result.key_slices, stored.overview) if stored is not None else None,
    )


def _attention(result: StudyResult, stored: StoredSaliency, planes: Sequence[ImagePlane]) -> list[Attention]:
    """Of every located finding; masks of those alone for which a segmentation has room."""
    drawn = drawn_findings(result, len(planes), planes[0].rows, planes[0].columns)
    return [
        Attention(
            finding=finding.name,
            masks=saliency_masks(stored, finding.name, finding.region.threshold, planes)
            if finding.name in drawn
            else {},
            values=stored.maps[finding.name].values,
            affine=stored.place_affine(finding.name),
        )
        for finding in result.findings
        if finding.region is not None and finding.name in stored.maps
    ]


def _key_slices(
    result: StudyResult, paths: Mapping[str, Path], stored: StoredSaliency | None
) -> KeySliceImages:
    """The pixels of the key slices, which alone are decoded once more, and the saliency on them."""
    voxels: dict[int, NDArray[np.int16]] = {}
    spacing = (1.0, 1.0)
    for reference in result.key_slices:
        path = paths[reference.sop_instance_uid]
        index = (reference.frame_number or 1) - 1
        decoded = decode_frame(path, index)
        header = read_header(path)
        if decoded.hu is None or header is None:
            raise UnreadableKeySlice(f"slice {reference.index} could not be read again: {decoded.problem}")
        voxels[reference.index] = np.rint(decoded.hu).astype(np.int16)
        spacing = header.planes[index].pixel_spacing_mm
    return KeySliceImages(voxels, spacing, _saliency(result, stored, voxels) if stored is not None else {})


def _saliency(
    result: StudyResult, stored: StoredSaliency, slices: Collection[int]
) -> dict[tuple[str, int], NDArray[np.float32]]:
    """The saliency of each located finding on its slice, where that is one of `slices`."""
    planes = {}
    for finding in result.findings:
        if finding.region is not None and finding.name in stored.maps:
            index = finding.region.slice.index
            if index in slices:
                planes[finding.name, index] = stored.maps[finding.name].plane(index)
    return planes


def _overview(references: Sequence[SliceReference], overview: CoronalOverview) -> Overview:
    """The coronal plane, with the numbers of the key images at their slices."""
    slices = dict.fromkeys(reference.index for reference in references)
    lowest = len(overview.hu) - 1
    marks = tuple((lowest - index, str(number)) for number, index in enumerate(slices, start=1))
    return Overview(overview.hu, overview.spacing_mm, marks)
