"""Single slices of an analysed series, read once more from the archive for a person to look at."""

from __future__ import annotations

import threading
import uuid
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dicom_node.data_folder import DataFolder
from dicom_node.ledger import Ledger
from dicom_node.orthanc import Orthanc
from dicom_node.plan import PlannedInstance
from dicom_node.slice_places import SlicePlaces, SliceUnavailable
from inference.decoding import FrameRequest, decode
from inference.dicom_files import read_header
from inference.image_plane import ImagePlane
from inference.study_result import StudyResult
from inference.volume import Frame

CACHE_BYTES = 96 << 20
FRAMES_BESIDE = 16
"""Frames on either side that are decoded with the one asked for: for each look, the whole file is fetched."""

_AT_ONCE = 2


@dataclass(frozen=True)
class Slice:
    """One source image: `hu` [row, column] in Hounsfield units, and its place in the patient."""

    hu: NDArray[np.int16]
    plane: ImagePlane


class SlicePixels:
    """Fetches, checks and decodes; the last slices looked at are kept in memory, and nothing on the disk."""

    def __init__(self, ledger: Ledger, orthanc: Orthanc, folder: DataFolder) -> None:
        self._ledger = ledger
        self._orthanc = orthanc
        self._folder = folder
        self._places = SlicePlaces(ledger, orthanc)
        self._kept: OrderedDict[tuple[str, int], Slice] = OrderedDict()
        self._lock = threading.Lock()
        self._turn = threading.Semaphore(_AT_ONCE)
        self._of_frames = threading.Lock()

    def places(self, result: StudyResult) -> tuple[Frame, ...]:
        """The image of each slice that can be shown, from the feet to the head.

        Raises
        ------
        SliceUnavailable, ArchiveError
            If that cannot be known, since frames are put in order by headers of the archive.
        """
        return self._places.of(result)

    def slice(self, result: StudyResult, number: int) -> Slice:
        """Slice `number` (from 0, towards the head) of the analysed series.

        Raises
        ------
        IndexError
            If there is no such slice.
        SliceUnavailable, ArchiveError
            If it cannot be shown.
        """
        places = self.places(result)
        if not 0 <= number < len(places):
            raise IndexError(number)
        kept = self._recalled(result.key, number)
        if kept is not None:
            return kept
        # Whoever scrolls asks for many at once; decoding leaves a core to the studies. Who waits for the lock
        # must not keep a turn, so the lock comes first.
        with self._of_frames if places[number][1] is not None else nullcontext(), self._turn:
            # Whoever waited for another frame of the same file finds this one read too.
            return self._recalled(result.key, number) or self._read(result, places, number)

    def _recalled(self, key: str, number: int) -> Slice | None:
        with self._lock:
            if (key, number) in self._kept:
                self._kept.move_to_end((key, number))
            return self._kept.get((key, number))

    def _read(self, result: StudyResult, places: Sequence[Frame], number: int) -> Slice:
        """The slice, kept in memory with the frames beside it."""
        uid, frame = places[number]
        around = range(max(number - FRAMES_BESIDE, 0), min(number + FRAMES_BESIDE + 1, len(places)))
        wanted = [number] if frame is None else [item for item in around if places[item][0] == uid]
        found = self._decoded(result.key, uid, [places[item][1] for item in wanted])
        with self._lock:
            for item in wanted:
                if places[item][1] in found:
                    self._kept[result.key, item] = found[places[item][1]]
            while sum(item.hu.nbytes for item in self._kept.values()) > CACHE_BYTES:
                self._kept.popitem(last=False)
        if frame not in found:
            raise SliceUnavailable("the image cannot be decoded")
        return found[frame]

    def _decoded(self, key: str, uid: str, frames: Sequence[int | None]) -> Mapping[int | None, Slice]:
        """Those frames of an instance that can be decoded, if it is still the one that was analysed."""
        planned = {item.sop_instance_uid: item for item in self._ledger.plan(key).instances}
        path = self._folder.root / "work" / f"slice-{uuid.uuid4().hex}"
        try:
            md5 = self._orthanc.fetch_instance(self._locator(key, planned[uid]), path)
            if md5 != planned[uid].md5:
                raise SliceUnavailable("the image in the archive is no longer the one that was analysed")
            halves = [half for half in (frames[::_AT_ONCE], frames[1::_AT_ONCE]) if half]
            requests = [FrameRequest(path, tuple((frame or 1) - 1 for frame in half)) for half in halves]
            pixels = {
                frame: item.hu
                for half, answers in zip(halves, decode(requests, workers=_AT_ONCE), strict=True)
                for frame, item in zip(half, answers, strict=True)
            }
            header = read_header(path)
        finally:
            path.unlink(missing_ok=True)
        planes = {plane.frame_number: plane for plane in header.planes} if header is not None else {}
        return {
            frame: Slice(np.rint(hu).astype(np.int16), planes[frame])
            for frame, hu in pixels.items()
            if hu is not None and frame in planes
        }

    def _locator(self, key: str, planned: PlannedInstance) -> str:
        """Orthanc's identifier of the instance; an upload's plan names a file that is gone."""
        if self._ledger.known(key).source == "archive":
            return planned.locator
        return self._orthanc.instance_id(planned.sop_instance_uid)
