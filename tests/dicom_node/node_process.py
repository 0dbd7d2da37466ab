"""A node in a process of its own, which kills itself with SIGKILL where it is told to.

python -m tests.dicom_node.node_process SETTINGS.toml [PLACE]
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from dicom_node.delivery_book import DeliveryBook
from dicom_node.ledger import Ledger
from dicom_node.log import configure
from dicom_node.node import Node
from dicom_node.orthanc import Orthanc
from dicom_node.settings_file import load_settings
from tests.dicom_node.stand_in import StandInAnalyser
from tests.dicom_node.sudden_death import Place, die_at

# Where the process dies: before or after this method is called for the first time.
PLACES: dict[str, Place] = {
    "analysing": (StandInAnalyser, "analyse", False),
    "report stored, key image not": (Orthanc, "store", True),
    "stored, not recorded": (Ledger, "reported", False),
    "delivered, not recorded": (DeliveryBook, "delivered", False),
}


if __name__ == "__main__":
    configure("INFO")
    if len(sys.argv) > 2:
        die_at(PLACES[sys.argv[2]])
    Node(load_settings(Path(sys.argv[1])), analyser=StandInAnalyser()).start()
    threading.Event().wait()
