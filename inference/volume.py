"""The chosen series as one volume in Hounsfield units, with its place in the patient."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference.acquisitions import Acquisition
from inference.decoding import FrameRequest, decode
from inference.dicom_files import each_header, too_slow
from inference.errors import RefusalCode, VolumeRefusal
from inference.image_plane import ImagePlane
from inference.instance_header import InstanceHeader
from inference.pixels import HounsfieldArray
from inference.reading_process import OutOfTime
from inference.series import best_of_series
from inference.slice_stack import SliceStack, StackedSlice, stack_planes

MAX_BROKEN_SLICES = 2
MAX_VOXELS = 1_000_000_000
"""Largest volume that is read: 2 GB, or 3,800 slices of 512 x 512; compressed files may hide far more."""

Frame = tuple[str, int | None]
"""SOP Instance UID and frame number (from 1; None in a single-frame instance)."""


@dataclass(frozen=True)
class CTVolume:
    """A CT series in Hounsfield units, slices ascending towards the head.

    Attributes
    ----------
    voxels_hu
        [slice, row, column], int16; float32 where the source has fractions of an HU. Rows and columns lie as
        in the source images, so a pixel of a slice is a pixel of its source instance.
    affine
        (column, row, slice) indices to LPS mm, 4 x 4. Its third column is not orthogonal to the others where
        the gantry was tilted.
    spacing_mm
        Distance of slices, rows, columns.
    sop_instance_uids, frame_numbers
        Source of each slice (the nearer one of an interpolated slice); frames from 1, None if single-frame.
    warnings
        What had to be made up or was left out, in words.
    """

    voxels_hu: HounsfieldArray
    affine: NDArray[np.float64]
    spacing_mm: tuple[float, float, float]
    sop_instance_uids: tuple[str, ...]
    frame_numbers: tuple[int | None, ...]
    study_uid: str
    series_uid: str
    warnings: tuple[str, ...]


def read_volume(
    paths: Sequence[Path],
    *,
    workers: int = 2,
    only: Collection[str] | None = None,
    deadline: float = math.inf,
) -> CTVolume:
    """The volume that the images of one series make.

    Parameters
    ----------
    paths
        Files of the series, in any order.
    workers
        Processes that decode.
    only
        SOP Instance UIDs to use; None for all.
    deadline
        When the reading has to be done, of `time.monotonic`.

    Raises
    ------
    VolumeRefusal
        `unreadable_pixels`, `too_large`, `reading_too_slow`, or what is wrong with the geometry.
    """
    headers, unreadable = _headers(paths, only, deadline)
    if unreadable > MAX_BROKEN_SLICES:
        raise VolumeRefusal(
            RefusalCode.UNREADABLE_PIXELS,
            f"{unreadable} of {len(headers) + unreadable} files of the series are no readable DICOM images.",
        )
    stack = series_stack(list(headers.values()))
    _bounded(stack)
    try:
        frames, problems = _decoded(stack, headers, workers, deadline)
    except OutOfTime as error:
        raise too_slow() from error
    broken = [plane for plane in stack.planes if _frame_of(plane) not in frames]
    if len(broken) + unreadable > MAX_BROKEN_SLICES:
        raise VolumeRefusal(
            RefusalCode.UNREADABLE_PIXELS,
            f"At least {len(problems) + unreadable} of {len(stack.planes) + unreadable} slices cannot be"
            f" decoded ({problems[0]}).",
        )
    warnings: list[str] = []
    if unreadable:
        warnings.append(f"{unreadable} file(s) of the series cannot be read and were left out.")
    if broken:
        places = " and ".join(f"{plane.position_mm[2]:.1f}" for plane in broken)
        warnings.append(
            f"The pixels of {len(broken)} slice(s) cannot be decoded and were left out: at z = {places} mm."
        )
        stack = stack_planes([plane for plane in stack.planes if _frame_of(plane) in frames])
    sources = [stack.planes[item.nearest] for item in stack.slices]
    first = next(iter(headers.values()))
    return CTVolume(
        voxels_hu=_assembled(stack, frames),
        affine=stack.affine,
        spacing_mm=stack.spacing_mm,
        sop_instance_uids=tuple(plane.sop_instance_uid for plane in sources),
        frame_numbers=tuple(plane.frame_number for plane in sources),
        study_uid=first.study_uid,
        series_uid=first.series_uid,
        warnings=(*warnings, *stack.warnings),
    )


def _headers(
    paths: Sequence[Path], only: Collection[str] | None, deadline: float
) -> tuple[dict[Path, InstanceHeader], int]:
    """The header of each instance of the series, each instance once, and how many files have none."""
    headers: dict[str, tuple[Path, InstanceHeader]] = {}
    unreadable = 0
    for path, header in each_header(paths, deadline):
        if header is None:
            unreadable += 1
        elif only is None or header.sop_instance_uid in only:
            headers.setdefault(header.sop_instance_uid, (path, header))
    if not headers:
        raise VolumeRefusal(RefusalCode.UNREADABLE_PIXELS, "No file of the series is a readable DICOM image.")
    if any(not header.planes for _, header in headers.values()):
        raise VolumeRefusal(RefusalCode.MIXED_GEOMETRY, "An image does not say where it lies in the patient.")
    return dict(headers.values()), unreadable


def series_stack(headers: list[InstanceHeader]) -> SliceStack:
    """The stack that the images make; of several within multi-frame instances the one that was chosen.

    Raises
    ------
    VolumeRefusal
        If they make none.
    """
    if any(header.frame_traits for header in headers):
        best = best_of_series(headers)
        if isinstance(best, Acquisition):
            return best.stack
    return stack_planes([plane for header in headers for plane in header.planes])


def _bounded(stack: SliceStack) -> None:
    """Refuse a volume that would not fit into memory before any of it is decoded."""
    plane = stack.planes[0]
    voxels = len(stack.slices) * plane.rows * plane.columns
    if voxels > MAX_VOXELS:
        raise VolumeRefusal(
            RefusalCode.TOO_LARGE, f"The series has {voxels / 1e9:.1f} thousand million voxels."
        )


def _frame_of(plane: ImagePlane) -> Frame:
    return plane.sop_instance_uid, plane.frame_number


def _decoded(
    stack: SliceStack, headers: dict[Path, InstanceHeader], workers: int, deadline: float
) -> tuple[dict[Frame, HounsfieldArray], list[str]]:
    """Frames of the stack that can be decoded to their declared matrix, and what is wrong with others.

    It ends with the one that makes the series unreadable: each may have cost the decoder its whole time.
    """
    paths = {header.sop_instance_uid: path for path, header in headers.items()}
    wanted: dict[str, list[ImagePlane]] = {}
    for plane in stack.planes:
        wanted.setdefault(plane.sop_instance_uid, []).append(plane)
    jobs = [
        list(planes[start::workers])
        for planes in wanted.values()
        for start in range(min(workers, len(planes)))
    ]
    requests = [
        FrameRequest(paths[job[0].sop_instance_uid], tuple((plane.frame_number or 1) - 1 for plane in job))
        for job in jobs
    ]
    frames: dict[Frame, HounsfieldArray] = {}
    problems: list[str] = []
    with closing(decode(requests, workers=workers, deadline=deadline)) as answers:
        for job, decoded in zip(jobs, answers, strict=True):
            for plane, frame in zip(job, decoded, strict=True):
                if frame.hu is not None and frame.hu.shape == (plane.rows, plane.columns):
                    frames[_frame_of(plane)] = frame.hu
                else:
                    problems.append(frame.problem or "the pixels do not fill the matrix")
            if len(problems) > MAX_BROKEN_SLICES:
                break
    return frames, problems


def _assembled(stack: SliceStack, frames: dict[Frame, HounsfieldArray]) -> HounsfieldArray:
    planes = [frames[_frame_of(plane)] for plane in stack.planes]
    kind = np.result_type(*{plane.dtype for plane in planes})
    voxels = np.empty((len(stack.slices), *planes[0].shape), kind)
    for index, item in enumerate(stack.slices):
        voxels[index] = _mixed(planes, item) if item.weight else planes[item.lower]
    return voxels


def _mixed(planes: Sequence[HounsfieldArray], item: StackedSlice) -> HounsfieldArray:
    """A slice between two planes, rounded if they hold whole numbers."""
    lower, upper = planes[item.lower], planes[item.upper]
    mixture = (1 - item.weight) * lower.astype(np.float32) + item.weight * upper.astype(np.float32)
    return np.rint(mixture).astype(np.int16) if lower.dtype == np.int16 else mixture.astype(np.float32)
