"""Single slices of an analysed series, read once more from the archive for a person to look at."""

from __future__ import annotations

import threading
import uuid
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dicom_node.data_folder import DataFolder
from dicom_node.errors import NodeError
from dicom_node.ledger import Ledger
from dicom_node.orthanc import Orthanc
from dicom_node.plan import PlannedInstance
from inference.decoding import decode_frame
from inference.dicom_files import read_header
from inference.slice_stack import ImagePlane
from inference.study_result import StudyResult

CACHE_BYTES = 96 << 20
_AT_ONCE = 2


class SliceUnavailable(NodeError):  # noqa: N818 - as the rest of its tree
    """A slice cannot be shown: its image is not in the archive as it was analysed, or cannot be read."""


@dataclass(frozen=True)
class Slice:
    """One source image: `hu` [row, column] in Hounsfield units, and its place in the patient."""

    hu: NDArray[np.int16]
    plane: ImagePlane


def shown_slices(result: StudyResult) -> int:
    """How many slices of the result can be shown one by one; 0 where they are frames of one instance."""
    if any(reference.frame_number is not None for reference in result.key_slices):
        return 0  # to show one frame, the whole instance would have to be fetched
    return len(result.image_sop_instance_uids)


class SlicePixels:
    """Fetches, checks and decodes; the last slices looked at are kept in memory, and nothing on the disk."""

    def __init__(self, ledger: Ledger, orthanc: Orthanc, folder: DataFolder) -> None:
        self._ledger = ledger
        self._orthanc = orthanc
        self._folder = folder
        self._kept: OrderedDict[tuple[str, int], Slice] = OrderedDict()
        self._lock = threading.Lock()
        self._turn = threading.Semaphore(_AT_ONCE)

    def slice(self, result: StudyResult, number: int) -> Slice:
        """Slice `number` (from 0, towards the head) of the analysed series.

        Raises
        ------
        IndexError
            If there is no such slice.
        SliceUnavailable, ArchiveError
            If it cannot be shown.
        """
        if not 0 <= number < shown_slices(result):
            raise IndexError(number)
        place = result.key, number
        with self._lock:
            if place in self._kept:
                self._kept.move_to_end(place)
                return self._kept[place]
        # Whoever scrolls asks for many at once; decoding leaves a core to the studies.
        with self._turn:
            found = self._read(result, number)
        with self._lock:
            self._kept[place] = found
            while sum(item.hu.nbytes for item in self._kept.values()) > CACHE_BYTES:
                self._kept.popitem(last=False)
        return found

    def _read(self, result: StudyResult, number: int) -> Slice:
        uid = result.image_sop_instance_uids[number]
        planned = {item.sop_instance_uid: item for item in self._ledger.plan(result.key).instances}
        path = self._folder.root / "work" / f"slice-{uuid.uuid4().hex}"
        try:
            md5 = self._orthanc.fetch_instance(self._locator(result.key, planned[uid]), path)
            if md5 != planned[uid].md5:
                raise SliceUnavailable("the image in the archive is no longer the one that was analysed")
            decoded, header = decode_frame(path, 0), read_header(path)
        finally:
            path.unlink(missing_ok=True)
        if decoded.hu is None or header is None or not header.planes:
            raise SliceUnavailable("the image cannot be decoded")
        return Slice(np.rint(decoded.hu).astype(np.int16), header.planes[0])

    def _locator(self, key: str, planned: PlannedInstance) -> str:
        """Orthanc's identifier of the instance; an upload's plan names a file that is gone."""
        if self._ledger.known(key).source == "archive":
            return planned.locator
        return self._orthanc.instance_id(planned.sop_instance_uid)
