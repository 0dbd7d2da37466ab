"""The measured study is the same in every coding, and the plain way makes the same of it."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from pydicom import dcmread

from bench.coded_studies import coded_study, enhanced_study, folder_study, images_of, small_files
from bench.plain_way import plain_encoder_input, plain_headers
from bench.reading_cases import CODINGS
from dicom_node.settings import HttpSettings
from dicom_node.uploads import receive_zip
from inference.dicom_files import read_headers
from inference.encoder_input import encoder_input
from inference.volume import CTVolume, read_volume
from tests.bench.conftest import SLICES, TINY


@pytest.fixture(scope="module")
def few(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ZIP of some slices of the study."""
    path = tmp_path_factory.mktemp("few") / "few.zip"
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist()[:6]:
            target.writestr(name, source.read(name))
    return path


def volume(archive: Path, folder: Path) -> CTVolume:
    return read_volume(receive_zip(archive, HttpSettings(), folder).files)


@pytest.mark.parametrize("coding", CODINGS)
def test_every_coding_keeps_every_voxel(coding: str, few: Path, tmp_path: Path) -> None:
    try:
        coded = coded_study(few, tmp_path / "coded.zip", coding)
    except FileNotFoundError as error:
        pytest.skip(f"{error.filename} is not installed")
    transfer_syntaxes = {image.file_meta.TransferSyntaxUID for image in images_of(coded)}
    assert len(transfer_syntaxes) == 1
    assert transfer_syntaxes.pop().is_encapsulated
    expected = volume(few, tmp_path / "plain")
    np.testing.assert_array_equal(volume(coded, tmp_path / "unpacked").voxels_hu, expected.voxels_hu)


def test_an_enhanced_instance_has_every_slice_at_its_place(few: Path, tmp_path: Path) -> None:
    (path,) = receive_zip(enhanced_study(few, tmp_path / "one.zip"), HttpSettings(), tmp_path / "one").files
    expected, found = volume(few, tmp_path / "plain"), read_volume([path])
    np.testing.assert_array_equal(found.voxels_hu, expected.voxels_hu)
    np.testing.assert_allclose(found.affine, expected.affine)


def test_a_study_that_was_made_is_left_as_it_is(few: Path, tmp_path: Path) -> None:
    path = tmp_path / "coded.zip"
    path.write_bytes(b"made before")
    assert coded_study(few, path, CODINGS[0]) == path
    assert enhanced_study(few, path).read_bytes() == b"made before"


def test_small_files_are_instances_of_their_own(few: Path, tmp_path: Path) -> None:
    files = small_files(few, tmp_path / "files", 9)
    assert len({dcmread(file).SOPInstanceUID for file in files}) == 9
    assert len(read_headers(files).headers) == 9
    assert plain_headers(files) == 9
    assert small_files(few, tmp_path / "files", 20) == files


def test_a_folder_becomes_a_zip_of_its_files(few: Path, tmp_path: Path) -> None:
    files = small_files(few, tmp_path / "study" / "series", 7)
    packed = folder_study(tmp_path / "study", tmp_path / "study.zip")
    assert len(list(images_of(packed))) == len(files)
    with zipfile.ZipFile(packed) as members:
        assert members.namelist() == [f"series/{file.name}" for file in files]


def test_the_plain_way_comes_to_the_same_encoder_input(archive: Path, tmp_path: Path) -> None:
    ours = encoder_input(volume(archive, tmp_path / "study"), TINY.input)
    assert ours.planes[1] - ours.planes[0] > 20
    plain = plain_encoder_input(archive, TINY.input)
    torch.testing.assert_close(plain, ours.tensor, atol=2e-6, rtol=0)
    assert len(list(images_of(archive))) == SLICES
