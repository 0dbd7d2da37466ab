"""A node in a process of its own, which kills itself with SIGKILL where it is told to.

python -m tests.dicom_node.node_process SETTINGS.toml [PLACE]
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dicom_node.delivery_book import DeliveryBook
from dicom_node.ledger import Ledger
from dicom_node.log import configure
from dicom_node.node import Node
from dicom_node.orthanc import Orthanc
from dicom_node.settings import load_settings
from tests.dicom_node.stand_in import StandInAnalyser

# Where the process dies: before or after this method is called for the first time.
PLACES: dict[str, tuple[type, str, bool]] = {
    "analysing": (StandInAnalyser, "analyse", False),
    "report stored, key image not": (Orthanc, "store", True),
    "stored, not recorded": (Ledger, "reported", False),
    "delivered, not recorded": (DeliveryBook, "delivered", False),
}


def die_at(place: str) -> None:
    owner, name, afterwards = PLACES[place]
    method: Callable[..., Any] = getattr(owner, name)

    def dying(*arguments: Any, **named: Any) -> Any:
        if afterwards:
            method(*arguments, **named)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, name, dying)


if __name__ == "__main__":
    configure("INFO")
    if len(sys.argv) > 2:
        die_at(sys.argv[2])
    Node(load_settings(Path(sys.argv[1])), analyser=StandInAnalyser()).start()
    threading.Event().wait()
