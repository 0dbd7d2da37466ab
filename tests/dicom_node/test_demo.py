"""The demonstration as a real process: what it writes, what it leaves, and what it says of a wrong answer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from rich.console import Console

from dicom_node.demo.hospital import choose_places
from dicom_node.demo.outcome import Outcome, kind_of_unknown
from dicom_node.demo.run import DemoFolderError, empty_folder
from dicom_node.demo.scans import synthetic_scans
from dicom_node.demo.table import print_outcomes
from dicom_node.destination_settings import DestinationSettings
from dicom_node.settings import HttpSettings, OrthancSettings, Settings
from tests.dicom_node.conftest import eventually, next_free_port
from tests.dicom_node.small_study import SLICES, write_small_chest, write_tiny_bundle
from tests.dicom_node.studies import write_scout
from tests.dicom_node.test_serve import processes_naming

SR = "1.2.840.10008.5.1.4.1.1.88.34"
ENTRY = {
    "study_uid",
    "kind",
    "truth",
    "state",
    "refusal",
    "probability",
    "decision",
    "findings",
    "seconds",
    "sr",
    "key_images",
}


@pytest.fixture
def demo(orthanc_program: str, tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Starts `dicom-node demo` with a tiny bundle, in this test's folder."""
    write_tiny_bundle(tmp_path / "bundles")

    def start(*options: object) -> subprocess.Popen[str]:
        environment = {
            **os.environ,
            "DICOM_NODE_WORKER__BUNDLES_FOLDER": str(tmp_path / "bundles"),
            "DICOM_NODE_WORKER__THREADS": "1",
            # Of no account: the demonstration has a folder of its own.
            "DICOM_NODE_DATA_FOLDER": str(tmp_path / "elsewhere"),
        }
        command = [sys.executable, "-m", "dicom_node.cli", "demo", "--data-folder", str(tmp_path / "demo")]
        return subprocess.Popen(
            [*command, *map(str, options)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def summary(tmp_path: Path) -> list[dict[str, Any]]:
    studies: list[dict[str, Any]] = json.loads((tmp_path / "demo" / "summary.json").read_text())["studies"]
    return studies


def test_a_study_from_disk_goes_the_whole_way(
    demo: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    files = write_small_chest(tmp_path / "study")
    write_scout(tmp_path / "study", "scout")
    output, errors = (process := demo("--study", tmp_path / "study")).communicate(timeout=170)
    assert process.returncode == 0, errors + output
    entries = {entry["study_uid"]: entry for entry in summary(tmp_path)}
    assert len(entries) == 2
    assert all(set(entry) == ENTRY for entry in entries.values())

    chest = entries.pop(str(dcmread(files[0]).StudyInstanceUID))
    assert (chest["kind"], chest["truth"], chest["state"], chest["refusal"]) == (
        "chest",
        [],
        "reported",
        None,
    )
    assert 0 <= chest["probability"] <= 1
    assert chest["decision"] in {0, 1}
    assert {item["name"] for item in chest["findings"]} == {"Lung nodule", "Emphysema"}
    assert {"send", "fetch", "read", "lungs", "report", "deliver:pacs", "last_image_to_sr"} <= set(
        chest["seconds"]
    )
    report = dcmread(chest["sr"])
    assert report.SOPClassUID == SR
    assert report.StudyInstanceUID == chest["study_uid"]
    assert chest["key_images"]
    assert all(dcmread(path).StudyInstanceUID == chest["study_uid"] for path in chest["key_images"])

    (scout,) = entries.values()
    assert (scout["state"], scout["refusal"], scout["sr"], scout["key_images"]) == (
        "refused",
        "no_ct_series",
        None,
        [],
    )
    assert (scout["probability"], scout["decision"], scout["findings"]) == (None, None, [])

    assert f"{SLICES} originals" in output
    assert "refused: no_ct_series" in output
    assert "not for diagnosis" in output
    assert processes_naming(str(tmp_path / "demo")) == []
    assert not (tmp_path / "elsewhere").exists()


def test_interrupted_it_stops_all_that_it_started(
    demo: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    process = demo()
    log = tmp_path / "demo" / "node.log"
    eventually(lambda: log.exists() and "C-STORE" in log.read_text(), timeout_s=90)
    assert len(processes_naming(str(tmp_path / "demo"))) >= 4  # itself, two Orthancs, the node
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "Traceback" not in errors
    assert processes_naming(str(tmp_path / "demo")) == []


def test_nothing_to_send_is_said_and_nothing_started(
    demo: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    _, errors = (process := demo("--study", tmp_path / "absent")).communicate(timeout=60)
    assert process.returncode == 1
    assert "absent" in errors
    (tmp_path / "text").write_text("no DICOM")
    _, errors = (process := demo("--study", tmp_path / "text")).communicate(timeout=60)
    assert process.returncode == 1
    assert "not_dicom" in errors
    assert not (tmp_path / "demo" / "pacs-orthanc").exists()


def test_a_node_that_does_not_start_is_quoted(
    demo: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    (tmp_path / "bundles" / "demo" / "fusion.txt").write_text("changed")
    study = write_scout(tmp_path, "scout")[0].parent
    _, errors = (process := demo("--study", study)).communicate(timeout=90)
    assert process.returncode == 1
    assert "changed_file: fusion.txt" in errors
    assert processes_naming(str(tmp_path / "demo")) == []


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    with pytest.raises(DemoFolderError, match="mine"):
        empty_folder(mine)
    assert (mine / "thesis.txt").exists()
    empty_folder(tmp_path / "new")
    (tmp_path / "new" / "old").touch()
    empty_folder(tmp_path / "new")
    assert not (tmp_path / "new" / "old").exists()


def test_ports_that_settings_name_are_taken_and_others_are_free() -> None:
    port, dicom, pacs = next_free_port(), next_free_port(), next_free_port()
    settings = Settings(
        http=HttpSettings(port=port),
        orthanc=OrthancSettings(dicom_port=dicom),
        destinations=(DestinationSettings(name="pacs", host="127.0.0.1", port=pacs, aet="MINE"),),
    )
    places = choose_places(settings)
    assert (places.node_http, places.archive_dicom, places.pacs_dicom) == (port, dicom, pacs)
    assert places.pacs_aet == "MINE"
    assert places.archive_http != 8042
    everything = [
        places.node_http,
        places.archive_http,
        places.archive_dicom,
        places.pacs_http,
        places.pacs_dicom,
    ]
    assert len(set(everything)) == 5


def test_synthetic_studies_are_of_real_size_and_made_beside(tmp_path: Path) -> None:
    with synthetic_scans(tmp_path) as (count, scans):
        assert count == 8
        first = next(iter(scans))
        axial = [dcmread(path, stop_before_pixels=True) for path in first.files]
        axial = [image for image in axial if image.ImageType[2] == "AXIAL"]
    assert (first.kind, first.truth) == ("chest", ())
    assert len(axial) >= 120
    assert {(image.Rows, image.Columns) for image in axial} == {(512, 512)}


def outcome(**changes: Any) -> Outcome:
    values = Outcome(
        study_uid="1.2.3",
        kind="chest",
        truth=("Lung nodule",),
        state="reported",
        refusal=None,
        probability=0.8,
        decision=1,
        findings={"Lung nodule": 0.7},
        present=("Lung nodule",),
        seconds={"fetch": 0.5, "send": 1.25, "last_image_to_sr": 7.0},
        sr=Path("pacs/sr.dcm"),
        key_images=(Path("pacs/sc-1.dcm"),),
        originals=120,
        originals_sent=120,
        problem=None,
    )
    return replace(values, **changes)


def test_agreement_with_the_truth() -> None:
    assert outcome().as_known is True
    assert outcome(decision=0).as_known is False
    assert outcome(truth=(), decision=0).as_known is True
    assert outcome(truth=None).as_known is None
    assert outcome(kind="head", truth=(), state="refused").as_known is True
    assert outcome(kind="head", truth=(), state="reported").as_known is False
    assert outcome(state="refused", decision=None).as_known is False
    assert outcome(problem="not delivered").as_known is None


def test_table_says_what_differs_and_what_failed() -> None:
    console = Console(width=160, record=True, file=open(os.devnull, "w"))  # noqa: SIM115, PTH123
    print_outcomes(
        [outcome(), outcome(decision=0, probability=0.1), outcome(problem="not delivered: down")], console
    )
    text = console.export_text()
    assert "not for diagnosis" in text
    assert "Answer differs from the truth: study 2." in text
    assert "FAILED, study 3: not delivered: down" in text
    assert "pathology (0.80)" in text
    assert "SR, 1 key image, 120 originals" in text
    assert text.index("send") < text.index("fetch")


def test_kind_of_a_study_that_nobody_knows() -> None:
    assert kind_of_unknown(None, quality_control=False) == "chest"
    assert kind_of_unknown("too_few_slices", quality_control=False) == "chest"
    assert kind_of_unknown("no_lungs", quality_control=False) == "head"
    assert kind_of_unknown("no_lungs", quality_control=True) == "quality_phantom"
