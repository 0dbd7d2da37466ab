"""Real scans the whole way: C-STORE into Orthanc, real analysis, report and untouched originals in a PACS.

The networks are tiny and random: what they say is not looked at.
"""

from __future__ import annotations

import io
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import FileDataset

from dicom_node.destination_settings import DestinationSettings
from dicom_node.local_orthanc import LocalOrthanc
from dicom_node.node import Node
from dicom_node.orthanc import Orthanc
from dicom_node.settings import WorkerSettings
from inference.saliency_file import read_saliency
from tests.dicom_node.conftest import Site, eventually, instances_of
from tests.dicom_node.small_study import write_tiny_bundle
from tests.dicom_node.studies import send

SR = "1.2.840.10008.5.1.4.1.1.88.34"
CT = "1.2.840.10008.5.1.4.1.1.2"
PATIENT_AND_STUDY = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyInstanceUID",
    "StudyDate",
)


@pytest.fixture
def pacs(make_orthanc: Callable[..., LocalOrthanc]) -> LocalOrthanc:
    return make_orthanc("pacs", aet="PACS")


@pytest.fixture
def node(site: Site, pacs: LocalOrthanc, tmp_path: Path) -> Iterator[Node]:
    write_tiny_bundle(tmp_path / "bundles")
    destination = DestinationSettings(
        name="pacs", host="127.0.0.1", port=pacs.dicom_port, aet=pacs.aet, forward_originals=True
    )
    worker = WorkerSettings(bundles_folder=tmp_path / "bundles", threads=2)
    node = Node(site.settings(destination, worker=worker))
    node.start()
    yield node
    node.stop()


def delivered(node: Node, files: list[Path], archive: LocalOrthanc) -> str:
    """Send a study and wait until its report is at the PACS; gives the series that was chosen."""
    send(files, archive)
    study_uid = str(dcmread(files[0], stop_before_pixels=True).StudyInstanceUID)

    def done() -> bool:
        records = node.ledger.recent(study_uid=study_uid)
        return bool(records) and any(item.state == "delivered" for item in records[0].deliveries)

    eventually(done, timeout_s=150)
    record = node.ledger.recent(study_uid=study_uid)[0]
    assert record.state == "reported", (record.code, record.error)
    return record.series_uid


def in_pacs(pacs: LocalOrthanc, sop_class: str) -> list[FileDataset]:
    client = Orthanc(pacs.settings())
    return [dcmread(io.BytesIO(client.instance_file(item))) for item in instances_of(pacs, sop_class)]


def assert_untouched(files: list[Path], pacs: LocalOrthanc) -> None:
    """Every element of every original, its pixels and its transfer syntax are as they were sent."""
    received = {item.SOPInstanceUID: item for item in in_pacs(pacs, CT)}
    assert len(received) == len(files)
    for file in files:
        sent = dcmread(file)
        copy = received[sent.SOPInstanceUID]
        assert copy.file_meta.TransferSyntaxUID == sent.file_meta.TransferSyntaxUID
        assert copy == sent


def assert_about(report: FileDataset, source: FileDataset, series_uid: str) -> None:
    """The report is about the source's patient and study, and names the images that were read."""
    for keyword in PATIENT_AND_STUDY:
        assert str(report.get(keyword, "")) == str(source.get(keyword, "")), keyword
    (study,) = report.CurrentRequestedProcedureEvidenceSequence
    assert series_uid in {series.SeriesInstanceUID for series in study.ReferencedSeriesSequence}


def assert_valid(node: Node) -> None:
    """No error in any object that was made of the study, and its saliency lies beside them."""
    (record,) = node.ledger.recent()
    objects = node.objects(record.key)
    assert len(objects) >= 2
    for path in objects:
        done = subprocess.run(["dciodvfy", "-new", path], capture_output=True, text=True, check=False)
        assert [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")] == []
    kept = read_saliency((objects[0].parent / "saliency.npz").read_bytes())
    located = {item.name for item in node.result(record.key).findings if item.region is not None}
    assert located == set(kept.maps)


def test_jpeg_ls_screening_ct(node: Node, site: Site, pacs: LocalOrthanc, ct_data: Path) -> None:
    files = sorted((ct_data / "ct" / "nlst-toshiba").rglob("*.dcm"))
    assert len(files) == 143
    series_uid = delivered(node, files, site.archive)
    (report,) = in_pacs(pacs, SR)
    assert_about(report, dcmread(files[0], stop_before_pixels=True), series_uid)
    assert_valid(node)
    assert_untouched(files, pacs)


def test_of_two_kernels_the_lung_kernel_is_read(
    node: Node, site: Site, pacs: LocalOrthanc, ct_data: Path
) -> None:
    study = ct_data / "ct" / "lung-dx-a0001-philips"
    files = sorted((study / "kernel-b").rglob("*.dcm")) + sorted((study / "kernel-a").rglob("*.dcm"))
    assert len(files) == 128
    series_uid = delivered(node, files, site.archive)
    chosen = dcmread(files[-1], stop_before_pixels=True)
    assert chosen.ConvolutionKernel == "L"
    assert series_uid == chosen.SeriesInstanceUID
    (report,) = in_pacs(pacs, SR)
    assert_about(report, chosen, series_uid)
    assert_untouched(files, pacs)
