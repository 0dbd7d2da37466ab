"""A node in a process of its own that kills itself with SIGKILL in the middle of an activation.

python -m tests.dicom_node.switch_process DATA_FOLDER BUNDLES_FOLDER [PLACE]
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from dicom_node.activation import ActivationBook
from dicom_node.active_bundle import ActiveBundle
from dicom_node.node import Node
from dicom_node.settings import Settings, WorkerSettings
from tests.dicom_node.shelf import Shelf
from tests.dicom_node.sudden_death import Place, die_at

# Where the process dies: before or after this method is called for the first time.
PLACES: dict[str, Place] = {
    "old networks gone": (ActiveBundle, "let_go", True),
    "new networks there, not written down": (ActivationBook, "switched", False),
    "written down, still closed": (ActivationBook, "switched", True),
}


if __name__ == "__main__":
    data_folder, bundles_folder = Path(sys.argv[1]), Path(sys.argv[2])
    worker = WorkerSettings(bundle="a", bundles_folder=bundles_folder)
    node = Node(Settings(data_folder=data_folder, worker=worker), load=Shelf(bundles_folder).load)
    node.start()
    if len(sys.argv) > 3:
        die_at(PLACES[sys.argv[3]])
    state = node.health().bundle
    print("started with", state.in_use if state is not None else "nothing", flush=True)
    threading.Event().wait()
