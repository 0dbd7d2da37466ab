"""A node that is killed in the middle of a study goes on with it: one report in archive and PACS, not two."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from pydicom.uid import Comprehensive3DSRStorage, SecondaryCaptureImageStorage

from dicom_node.data_folder import DataFolder
from dicom_node.ledger import Ledger
from tests.dicom_node.conftest import NodeProgram, Pacs, Site, eventually, instances_of
from tests.dicom_node.node_process import PLACES
from tests.dicom_node.studies import send, write_chest


@pytest.mark.parametrize("place", PLACES)
def test_killed_node_goes_on_at_the_unfinished_step(
    place: str, node_program: NodeProgram, site: Site, pacs: Pacs, tmp_path: Path
) -> None:
    with node_program.running(place) as killed:
        send(write_chest(tmp_path, "killed"), site.archive)
        assert killed.wait(60) == -signal.SIGKILL
    ledger = Ledger(DataFolder(site.folder).ledger_url)
    with node_program.running():
        eventually(lambda: _delivered(ledger), 60)
    [record] = ledger.recent()
    assert record.state == "reported"
    assert len(instances_of(site.archive, Comprehensive3DSRStorage)) == 1
    assert len(instances_of(site.archive, SecondaryCaptureImageStorage)) == 2
    reports = {(uid, data) for sop_class, uid, data in pacs.received if sop_class == Comprehensive3DSRStorage}
    assert len(reports) == 1
    if place != "delivered, not recorded":
        assert pacs.classes() == [Comprehensive3DSRStorage, *[SecondaryCaptureImageStorage] * 2]


def _delivered(ledger: Ledger) -> bool:
    return [item.state for record in ledger.recent() for item in record.deliveries] == ["delivered"]
