"""The trace of a queue of equal studies on one device."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from bench.queued_studies import QueueTrace, trace_queue
from dicom_node.settings import HttpSettings
from dicom_node.uploads import receive_zip
from inference.analyse import Analyser
from models.precision import Precision


def measure_queue(
    archive: Path, bundle_folder: Path, device: str, precision: Precision, *, studies: int, concurrency: int
) -> QueueTrace:
    """Let a warmed-up analyser read the study in the ZIP `archive` `studies` times.

    Its files are unpacked beforehand and stay in the system's cache, as those that were fetched just now.
    """
    with TemporaryDirectory(dir=archive.parent) as folder:
        files = receive_zip(archive, HttpSettings(), Path(folder)).files
        analyser = Analyser(bundle_folder, device=device, precision=precision)
        analyser.warm_up()
        return trace_queue(analyser, [files] * studies, concurrency)
