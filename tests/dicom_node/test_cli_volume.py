"""`dicom-node volume`: what is written, and what is said."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from click.testing import Result
from numpy.typing import NDArray
from typer.testing import CliRunner

from dicom_node.cli import app
from inference.dicom_files import files_below, read_headers
from inference.series import choose_series
from inference.volume import CTVolume, read_volume
from phantom.cases import Case
from phantom.grid import centred_grid
from phantom.scene import LUNG, STANDARD
from phantom.studies import chest_study, head_study
from tests.inference.marked_body import MARKER, MARKER_HU, ORIENTATIONS, marked_series
from tests.inference.synthetic import save

RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
GRID = centred_grid((4.5, 3.2, 3.2), (72, 128, 128))


@pytest.fixture(autouse=True)
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A data folder of its own, and logging as it was: a command configures it for its process."""
    monkeypatch.setenv("DICOM_NODE_DATA_FOLDER", str(tmp_path / "node"))
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    monkeypatch.setattr(logging.getLogger(), "level", logging.WARNING)


@pytest.fixture(scope="module")
def chest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study") / "chest"
    study = chest_study(Case(3, ()), grid=GRID, kernels=(STANDARD, LUNG), localizer=True)
    save(list(study.datasets()), folder)
    return folder


def command(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["volume", *map(str, arguments)])


def content(result: Result) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def nodes_volume(folder: Path) -> CTVolume:
    files = read_headers(files_below(folder))
    return read_volume(files.series(choose_series(files.headers)))


def written(path: Path) -> tuple[NDArray[np.int16], NDArray[np.float64]]:
    """Voxels (column, row, slice) and the affine to RAS mm."""
    image = nibabel.load(path)
    assert isinstance(image, nibabel.Nifti1Image)
    return np.asanyarray(image.dataobj), np.asarray(image.affine)


def test_the_voxels_and_the_affine_are_the_nodes(chest: Path, tmp_path: Path) -> None:
    out = tmp_path / "chest.nii.gz"
    result = command(chest, "--out", out, "--json")
    assert result.exit_code == 0
    volume = nodes_volume(chest)
    voxels, affine = written(out)
    assert voxels.dtype == np.int16
    np.testing.assert_array_equal(voxels.transpose(2, 1, 0), volume.voxels_hu)
    np.testing.assert_allclose(affine, RAS @ volume.affine, atol=1e-3)
    answer = content(result)
    assert answer["refusal"] is None
    assert answer["file"] == str(out)
    assert answer["series_uid"] == volume.series_uid
    assert answer["geometry"]["shape"] == [72, 128, 128]
    assert answer["geometry"]["spacing_mm"] == pytest.approx([4.5, 3.2, 3.2])
    np.testing.assert_allclose(answer["geometry"]["affine_ras"], affine, atol=1e-3)
    assert answer["geometry"]["minimum_hu"] == volume.voxels_hu.min()
    assert {item["reason"] for item in answer["series"]} == {"chosen", "kernel", "localizer"}
    assert all(item["sentence"] for item in answer["series"])
    lungs = answer["lungs"]
    assert 1000 < lungs["left_ml"] < 3500
    assert 1000 < lungs["right_ml"] < 3500
    assert lungs["cut_off"] == []
    assert len(lungs["measurements"]) == 8


def test_a_zip_gives_the_same_and_a_person_gets_lines(chest: Path, tmp_path: Path) -> None:
    archive = tmp_path / "study.zip"
    with zipfile.ZipFile(archive, "w") as writer:
        for path in files_below(chest):
            writer.write(path, path.name)
    first, second = tmp_path / "a.nii", tmp_path / "b.nii.gz"
    assert command(chest, "--out", first).exit_code == 0
    result = command(archive, "--out", second)
    assert result.exit_code == 0
    np.testing.assert_array_equal(written(first)[0], written(second)[0])
    assert "72 x 128 x 128 voxels (slices, rows, columns), 4.5 x 3.2 x 3.2 mm, int16" in result.stdout
    assert "ml left" in result.stdout
    assert result.stdout.count("not chosen") == 2
    assert str(second) in result.stdout


def test_what_is_written_can_be_read_again(chest: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "a.nii.gz", tmp_path / "b.nii.gz"
    assert command(chest, "--out", first).exit_code == 0
    result = command(first, "--out", second, "--json")
    assert result.exit_code == 0
    np.testing.assert_array_equal(written(first)[0], written(second)[0])
    np.testing.assert_allclose(written(first)[1], written(second)[1], atol=1e-3)
    assert content(result)["series"] == []


def test_a_head_is_written_and_refused(tmp_path: Path) -> None:
    save(list(head_study(3, grid=centred_grid((5.0, 1.96, 1.96), (32, 128, 128))).datasets()), tmp_path / "s")
    out = tmp_path / "head.nii.gz"
    result = command(tmp_path / "s", "--out", out, "--json")
    assert result.exit_code == 1
    answer = content(result)
    assert answer["refusal"]["code"] == "no_lungs"
    assert answer["refusal"]["sentence"]
    assert answer["refusal"]["remedy"]
    assert answer["lungs"] is None
    assert answer["geometry"]["shape"] == [32, 128, 128]
    assert out.is_file()
    assert result.stderr.startswith("no_lungs: ")


def test_half_a_chest_is_refused_with_the_end(tmp_path: Path) -> None:
    images = sorted(
        chest_study(Case(3, ()), grid=GRID).datasets(), key=lambda image: float(image.ImagePositionPatient[2])
    )
    save(images[: len(images) // 2], tmp_path / "s")
    result = command(tmp_path / "s", "--out", tmp_path / "half.nii.gz", "--json")
    assert result.exit_code == 1
    answer = content(result)
    assert answer["refusal"]["code"] == "lungs_truncated"
    assert "mm at the head end" in answer["refusal"]["sentence"]
    (cut,) = answer["lungs"]["cut_off"]
    assert (cut["end"], cut["at_least"]) == ("head", True)
    assert cut["missing_mm"] > 45


def test_a_study_without_a_series_to_read_says_why_of_each(chest: Path, tmp_path: Path) -> None:
    images = list(chest_study(Case(3, ()), grid=GRID, localizer=True).datasets())
    save(images[:3], tmp_path / "s")
    out = tmp_path / "none.nii.gz"
    result = command(tmp_path / "s", "--out", out, "--json")
    assert result.exit_code == 1
    answer = content(result)
    assert answer["refusal"]["code"] == "too_few_slices"
    assert {item["reason"] for item in answer["series"]} == {"localizer", "too_few_slices"}
    assert not out.exists()


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    result = command(tmp_path / "nothing", "--out", tmp_path / "a.nii", "--json")
    assert result.exit_code == 1
    assert content(result)["refusal"]["code"] == "not_found"
    result = command(tmp_path, "--out", tmp_path / "a.mha")
    assert result.exit_code == 2
    assert ".nii" in result.stderr


def test_neither_torch_nor_a_bundle_is_needed(chest: Path, tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from dicom_node.settings import Settings;"
        "from dicom_node.cli_volume import volume_answer; paths = [Path(name) for name in sys.argv[1:]];"
        "a = volume_answer(paths[:1], paths[1], Settings());"
        "assert a.code is None, a; assert 'torch' not in sys.modules"
    )
    environment = {**os.environ, "DICOM_NODE_WORKER__BUNDLES_FOLDER": str(tmp_path / "no bundles")}
    subprocess.run(
        [sys.executable, "-c", program, str(chest), str(tmp_path / "a.nii")], check=True, env=environment
    )


@pytest.mark.parametrize("orientation", ORIENTATIONS.values(), ids=list(ORIENTATIONS))
def test_left_back_and_head_are_the_patients(orientation: Any, tmp_path: Path) -> None:
    save(marked_series(orientation), tmp_path / "s")
    out = tmp_path / "a.nii.gz"
    assert command(tmp_path / "s", "--out", out, "--json").exit_code == 1  # a box has no lungs
    voxels, affine = written(out)
    place = np.argwhere(voxels > MARKER_HU / 2).mean(axis=0)
    left, back, head = (affine @ [*place, 1])[:3] * [-1, -1, 1]
    assert left == pytest.approx(MARKER[0], abs=1.2)
    assert back == pytest.approx(MARKER[1], abs=1.2)
    assert head == pytest.approx(MARKER[2], abs=1.2)
    for axis in range(3):
        other = np.argwhere(np.flip(voxels, axis) > MARKER_HU / 2).mean(axis=0)
        assert np.abs((affine @ [*other, 1])[:3] * [-1, -1, 1] - MARKER).max() > 10
