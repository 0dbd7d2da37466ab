"""The one configuration file, as Orthanc itself understands it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from dicom_node.cstore import Peer, send_objects, verify
from dicom_node.errors import ArchiveRefused, AssociationRejected
from dicom_node.local_orthanc import LocalOrthanc
from dicom_node.orthanc import Orthanc
from dicom_node.orthanc_connection import OrthancConnection
from tests.dicom_node.studies import send, write_chest

MakeOrthanc = Callable[..., LocalOrthanc]


def test_variables_reach_orthanc(make_orthanc: MakeOrthanc) -> None:
    orthanc = make_orthanc(aet="CT-READER", name="ward 7")
    system = Orthanc(orthanc.settings()).system()
    assert (system["DicomAet"], system["Name"]) == ("CT-READER", "ward 7")
    assert (system["DicomPort"], system["HttpPort"]) == (orthanc.dicom_port, orthanc.http_port)


def test_nobody_reads_without_the_password(make_orthanc: MakeOrthanc) -> None:
    orthanc = make_orthanc()
    assert httpx.get(f"{orthanc.settings().url}/studies").status_code == 401
    wrong = orthanc.settings().model_copy(update={"password": None, "username": None})
    with pytest.raises(ArchiveRefused, match="does not accept the credentials"):
        Orthanc(wrong).system()
    password = orthanc.folder / "password"
    assert len(password.read_text()) == 48
    assert password.stat().st_mode & 0o077 == 0


def test_nobody_stores_under_another_ae_title(make_orthanc: MakeOrthanc, tmp_path: Path) -> None:
    orthanc = make_orthanc(aet="RIGHT")
    verify(Peer("127.0.0.1", orthanc.dicom_port, "RIGHT"), calling_aet="ANYBODY")
    with pytest.raises(AssociationRejected):
        send_objects(
            Peer("127.0.0.1", orthanc.dicom_port, "WRONG"),
            write_chest(tmp_path, "x")[:1],
            calling_aet="ANYBODY",
        )


def test_files_are_given_as_they_came_and_again_when_sent_again(
    make_orthanc: MakeOrthanc, tmp_path: Path
) -> None:
    orthanc = make_orthanc()
    client = Orthanc(orthanc.settings())
    [path] = write_chest(tmp_path, "same")[:1]
    send([path], orthanc)
    [study] = client.studies()
    [instance] = client.series(study.series_ids[0]).instance_ids
    assert client.instance_file(instance).endswith(path.read_bytes()[-64 * 64 * 2 :])
    before = client.last_change()
    send([path], orthanc)
    # Overwriting is an event: a study that is sent again is looked at again.
    assert client.last_change() > before


def test_dicomweb_and_plug_in_are_loaded(make_orthanc: MakeOrthanc) -> None:
    orthanc = make_orthanc()
    plugins = OrthancConnection(orthanc.settings()).json("GET", "/plugins")
    assert {"dicom-web", "python"} <= set(plugins)
