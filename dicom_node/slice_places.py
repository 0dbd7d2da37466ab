"""Which images the slices of an analysed series are, from the feet up: instances, or frames of them."""

from __future__ import annotations

import threading
from collections import OrderedDict

from dicom_node.errors import NodeError
from dicom_node.ledger import Ledger
from dicom_node.orthanc import Orthanc
from inference.errors import VolumeRefusal
from inference.instance_header import InstanceHeader
from inference.study_result import StudyResult
from inference.volume import Frame, series_stack

_KEPT = 64


class SliceUnavailable(NodeError):  # noqa: N818 - as the rest of its tree
    """A slice cannot be shown: its image is not in the archive as it was analysed, or cannot be read."""


class SlicePlaces:
    """A result names its instances in order, but not their frames: those are put in order by their headers.

    The order is that of the analysis, since it comes about in the same way.
    """

    def __init__(self, ledger: Ledger, orthanc: Orthanc) -> None:
        self._ledger = ledger
        self._orthanc = orthanc
        self._kept: OrderedDict[str, tuple[Frame, ...]] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, result: StudyResult) -> tuple[Frame, ...]:
        """The image of each slice that can be shown, ascending.

        Raises
        ------
        SliceUnavailable, ArchiveError
            If the frames of a multi-frame image cannot be put in order.
        """
        if all(reference.frame_number is None for reference in result.key_slices):
            return tuple((uid, None) for uid in result.image_sop_instance_uids)
        with self._lock:
            if result.key in self._kept:
                self._kept.move_to_end(result.key)
                return self._kept[result.key]
        found = self._frames(result)
        with self._lock:
            self._kept[result.key] = found
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return found

    def _frames(self, result: StudyResult) -> tuple[Frame, ...]:
        wanted = set(result.image_sop_instance_uids)
        try:
            headers = [
                InstanceHeader.from_dataset(dataset)
                for dataset in self._orthanc.headers(self._series_id(result)).values()
                if str(dataset.get("SOPInstanceUID", "")) in wanted
            ]
            if len(headers) < len(wanted):
                raise SliceUnavailable("images of the analysed series are no longer in the archive")
            stack = series_stack(headers)
        except (ValueError, VolumeRefusal) as error:
            raise SliceUnavailable("the frames of the image cannot be put in order") from error
        return tuple((plane.sop_instance_uid, plane.frame_number) for plane in stack.planes)

    def _series_id(self, result: StudyResult) -> str:
        """Orthanc's identifier of the analysed series."""
        known = self._ledger.known(result.key).orthanc_id or self._orthanc.study_id(result.study_uid)
        for series_id in self._orthanc.study(known).series_ids:
            if self._orthanc.series(series_id).series_uid == result.series_uid:
                return series_id
        raise SliceUnavailable("the analysed series is no longer in the archive")
