"""What a person may ask of a running node: send again, try now, test a destination, look at slices."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from dicom_node.errors import ArchiveMissing, AssociationRejected, PeerUnreachable
from dicom_node.local_orthanc import LocalOrthanc
from dicom_node.node import Node
from dicom_node.operations import NothingToSend
from dicom_node.orthanc import Orthanc
from dicom_node.orthanc_connection import OrthancConnection
from dicom_node.slice_pixels import SlicePixels
from dicom_node.slice_places import SliceUnavailable
from tests.dicom_node.conftest import Pacs, Site, eventually
from tests.dicom_node.studies import SLICES, send, study_uid, write_chest, write_scout
from tests.inference.enhanced import as_enhanced


def delivery_state(node: Node, key: str, name: str = "pacs") -> str:
    return {item.destination: item.state for item in node.ledger.known(key).deliveries}.get(name, "")


def newest(node: Node, name: str) -> str:
    records = node.ledger.recent(1, study_uid(name))
    return records[0].key if records else ""


def finished(node: Node, archive: LocalOrthanc, files: list[Path], name: str) -> str:
    send(files, archive)
    eventually(lambda: newest(node, name) and node.ledger.known(newest(node, name)).ended)
    return newest(node, name)


def test_the_same_bytes_are_sent_again(site: Site, pacs: Pacs, tmp_path: Path) -> None:
    later = Pacs(aet="LATER")
    node = site.start(pacs.destination(), later.destination("later", retry_first_s=600, retry_longest_s=900))
    key = finished(node, site.archive, write_chest(tmp_path, "a"), "a")
    eventually(lambda: delivery_state(node, key) == "delivered")
    eventually(lambda: delivery_state(node, key, "later") == "failing")
    first = list(pacs.received)
    node.operations.send_again(key, "pacs")
    eventually(lambda: len(pacs.received) == 2 * len(first))
    assert sorted(pacs.received[len(first) :]) == sorted(first)
    eventually(lambda: delivery_state(node, key) == "delivered")
    assert node.ledger.deliveries.get(key, "pacs").attempts == 2

    # The next try is ten minutes away; a person who mended the destination does not wait for it.
    later.start()
    try:
        node.operations.send_again(key, "later")
        eventually(lambda: delivery_state(node, key, "later") == "delivered")
    finally:
        later.stop()
    assert sorted(later.received) == sorted(first)


def test_nothing_is_sent_that_is_not_there(site: Site, pacs: Pacs, tmp_path: Path) -> None:
    node = site.start(pacs.destination())
    key = finished(node, site.archive, write_scout(tmp_path, "scout"), "scout")
    assert not node.operations.can_send(node.ledger.known(key), "pacs")
    with pytest.raises(NothingToSend):
        node.operations.send_again(key, "pacs")
    for call in (
        lambda: node.operations.send_again(key, "elsewhere"),
        lambda: node.operations.echo("elsewhere"),
    ):
        with pytest.raises(KeyError):
            call()
    assert pacs.received == []


def test_a_study_that_fails_is_tried_at_once(site: Site, tmp_path: Path) -> None:
    site.analyser.faults.append(RuntimeError("a fault"))
    worker = site.settings().worker.model_copy(update={"retry_first_s": 600.0, "retry_longest_s": 900.0})
    node = site.start(worker=worker)
    send(write_chest(tmp_path, "a"), site.archive)
    eventually(lambda: newest(node, "a") and node.ledger.known(newest(node, "a")).state == "failing")
    node.operations.try_now(newest(node, "a"))
    eventually(lambda: node.ledger.known(newest(node, "a")).state == "reported")
    assert len(site.analyser.calls) == 2


def test_a_destination_is_tested_by_a_real_association(site: Site, pacs: Pacs) -> None:
    pacs.stop()
    echo = Pacs(port=pacs.port, aet="PACS")
    node = site.start(pacs.destination(), pacs.destination("wrong", aet="WRONG"))
    with pytest.raises(PeerUnreachable):
        node.operations.echo("pacs")
    echo.start()
    try:
        assert node.operations.echo("pacs") > 0
        with pytest.raises(AssociationRejected):
            node.operations.echo("wrong")
    finally:
        echo.stop()


def test_slices_are_those_that_were_analysed_or_none(site: Site, tmp_path: Path) -> None:
    node = site.start()
    files = write_chest(tmp_path, "a")
    key = finished(node, site.archive, files, "a")
    result = node.result(key)
    assert len(node.slices.places(result)) == SLICES
    for number in (0, SLICES - 1, 0):
        source = dcmread(files[number])
        shown = node.slices.slice(result, number)
        hu = source.pixel_array * float(source.RescaleSlope) + float(source.RescaleIntercept)
        assert np.array_equal(shown.hu, hu)
        assert shown.plane.sop_instance_uid == source.SOPInstanceUID
    for number in (-1, SLICES):
        with pytest.raises(IndexError):
            node.slices.slice(result, number)
    assert list((site.folder / "work").iterdir()) == []

    # Other pixels under the same UID are not shown as those that were analysed.
    replaced = dcmread(files[5])
    replaced.PixelData = bytes(len(replaced.PixelData))
    replaced.save_as(files[5])
    client = Orthanc(site.archive.settings())
    instance = client.instance_id(replaced.SOPInstanceUID)
    OrthancConnection(site.archive.settings()).json("DELETE", f"/instances/{instance}")
    client.store(files[5].read_bytes())
    with pytest.raises(SliceUnavailable):
        node.slices.slice(result, 5)


def test_slices_that_are_frames_are_shown_from_the_feet_up(site: Site, tmp_path: Path) -> None:
    node = site.start()
    images = [dcmread(file) for file in write_chest(tmp_path, "a")]
    order = np.random.default_rng(4).permutation(SLICES)  # of the frames in the file
    joined = as_enhanced([images[item] for item in order], uid="2.25.4711")
    joined.save_as(tmp_path / "enhanced.dcm", enforce_file_format=True)
    key = finished(node, site.archive, [tmp_path / "enhanced.dcm"], "a")
    result = node.result(key)
    places = node.slices.places(result)
    assert places == tuple(("2.25.4711", int(np.flatnonzero(order == item)[0]) + 1) for item in range(SLICES))
    for number in (SLICES - 1, 0, 3, 12):
        shown = node.slices.slice(result, number)
        source = images[number]
        hu = source.pixel_array * float(source.RescaleSlope) + float(source.RescaleIntercept)
        assert np.array_equal(shown.hu, hu)
        assert shown.plane.position_mm == tuple(map(float, source.ImagePositionPatient))
    with pytest.raises(IndexError):
        node.slices.slice(result, SLICES)
    assert list((site.folder / "work").iterdir()) == []

    # Without the study in the archive, nothing is known of its frames.
    archived = Orthanc(site.archive.settings()).study_id(study_uid("a"))
    OrthancConnection(site.archive.settings()).json("DELETE", f"/studies/{archived}")
    with pytest.raises(ArchiveMissing):
        SlicePixels(node.ledger, node.orthanc, node.folder).slice(result, 0)


def test_two_requests_at_once_are_one_new_attempt(site: Site, tmp_path: Path) -> None:
    node = site.start()
    key = finished(node, site.archive, write_chest(tmp_path, "a"), "a")
    site.analyser.gate.clear()
    try:
        with ThreadPoolExecutor() as people:
            keys = set(people.map(lambda _: node.rerun(key), range(4)))
        assert len(keys) == 1
        assert node.ledger.known(keys.pop()).attempt == 1
        assert len(node.ledger.recent(10, study_uid("a"))) == 2
    finally:
        site.analyser.gate.set()
