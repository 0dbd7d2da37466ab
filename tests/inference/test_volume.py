from __future__ import annotations

import json
import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pytest

from inference.dicom_files import files_below, read_headers
from inference.errors import RefusalCode, VolumeRefusal
from inference.series import choose_series
from inference.volume import CTVolume, read_volume
from tests.inference.synthetic import STUDY, ct_image, ct_series, save

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def distinct(index: int) -> np.ndarray:
    """A slice whose stored values say which slice, row and column they are of."""
    rows, columns = np.mgrid[:12, :16]
    return (1024 + 400 * rows + 20 * columns + index).astype(np.int16)


def refusal(paths: list[Path]) -> VolumeRefusal:
    with pytest.raises(VolumeRefusal) as caught:
        read_volume(paths)
    return caught.value


@pytest.mark.parametrize("name", ["axial", "descending_shuffled"])
def test_the_reference_series_give_the_reference_volume(parity: Path, tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(parity / "dicom" / f"{name}.zip") as archive:
        archive.extractall(tmp_path)
    files = read_headers(files_below(tmp_path))
    volume = read_volume(files.series(choose_series(files.headers)))
    expected = nibabel.load(parity / "dicom" / "axial_expected.nii.gz")
    np.testing.assert_array_equal(volume.voxels_hu.transpose(2, 1, 0), np.asarray(expected.dataobj))
    np.testing.assert_allclose(RAS_TO_LPS @ volume.affine, expected.affine, atol=1e-3)
    zooms = json.loads((parity / "dicom" / "expected.json").read_text())[name]["zooms"]
    np.testing.assert_allclose(volume.spacing_mm[::-1], zooms, rtol=1e-6)


def test_slices_lie_by_position_whatever_names_and_numbers_say(tmp_path: Path) -> None:
    images = [ct_image(index, distinct(index), InstanceNumber=99 - index) for index in range(24)]
    volume = read_volume(save(images, tmp_path))
    for index in range(24):
        np.testing.assert_array_equal(np.rint(volume.voxels_hu[index]), distinct(index) - 1024)
        assert volume.sop_instance_uids[index] == f"{STUDY}.1.{index + 1}"
    assert volume.voxels_hu.dtype == np.int16
    assert volume.spacing_mm == pytest.approx((2.5, 0.8, 0.8))


def test_each_slice_has_its_own_rescale(tmp_path: Path) -> None:
    images = ct_series(24, lambda index: {"RescaleIntercept": -1000 - index, "RescaleSlope": 1 + index % 2})
    volume = read_volume(save(images, tmp_path))
    assert [int(volume.voxels_hu[index, 0, 0]) for index in (0, 1, 2)] == [-976, -953, -978]


def test_fractions_of_an_hu_are_kept(tmp_path: Path) -> None:
    volume = read_volume(save(ct_series(24, RescaleSlope=0.5), tmp_path))
    assert volume.voxels_hu.dtype == np.float32
    assert volume.voxels_hu[0, 0, 0] == -1012


def test_a_missing_slice_is_the_mean_of_its_neighbours(tmp_path: Path) -> None:
    images = [ct_image(index, distinct(10 * index)) for index in range(24) if index != 7]
    volume = read_volume(save(images, tmp_path))
    assert len(volume.voxels_hu) == 24
    np.testing.assert_array_equal(np.rint(volume.voxels_hu[7]), distinct(70) - 1024)
    assert "interpolated" in volume.warnings[0]
    assert volume.sop_instance_uids[7] in {f"{STUDY}.1.7", f"{STUDY}.1.9"}


def test_one_broken_slice_is_left_out_with_a_warning_and_three_are_refused(tmp_path: Path) -> None:
    images = [ct_image(index, distinct(10 * index)) for index in range(24)]
    images[7].PixelData = images[7].PixelData[:100]
    volume = read_volume(save(images, tmp_path / "one"))
    np.testing.assert_array_equal(np.rint(volume.voxels_hu[7]), distinct(70) - 1024)
    assert volume.warnings[0] == (
        "The pixels of 1 slice(s) cannot be decoded and were left out: at z = -282.5 mm."
    )
    for index in (3, 12):
        images[index].PixelData = images[index].PixelData[:100]
    found = refusal(save(images, tmp_path / "three"))
    assert found.code is RefusalCode.UNREADABLE_PIXELS
    assert "3 of 24 slices" in found.sentence


def test_two_files_that_cannot_be_read_are_left_out_and_a_third_is_refused(tmp_path: Path) -> None:
    images = [ct_image(index, distinct(10 * index)) for index in range(24)]
    paths = dict(zip(range(24), save(images, tmp_path), strict=True))
    for index in (3, 12):
        paths[index].write_bytes(b"broken")
    volume = read_volume(list(paths.values()))
    np.testing.assert_array_equal(np.rint(volume.voxels_hu[3]), distinct(30) - 1024)
    assert volume.warnings[0] == "2 file(s) of the series cannot be read and were left out."
    assert "between z = -295.0 and -290.0 mm" in volume.warnings[1]
    paths[20].write_bytes(b"")
    found = refusal(list(paths.values()))
    assert (found.code, "3 of 24 files" in found.sentence) == (RefusalCode.UNREADABLE_PIXELS, True)


def test_a_file_that_is_no_dicom_is_unreadable(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"nothing")
    assert refusal([tmp_path / "x"]).code is RefusalCode.UNREADABLE_PIXELS


def test_a_volume_beyond_memory_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    paths = save(ct_series(24, Rows=8000, Columns=8000, PixelSpacing=[0.1, 0.1]), tmp_path)
    assert refusal(paths).code is RefusalCode.TOO_LARGE


def test_only_the_wanted_images_are_read(tmp_path: Path) -> None:
    paths = save(ct_series(24), tmp_path)
    wanted = {f"{STUDY}.1.{index + 1}" for index in range(20)}
    assert len(read_volume(paths, only=wanted).voxels_hu) == 20


ORIENTATIONS = {
    "supine": (1, 0, 0, 0, 1, 0),
    "prone": (-1, 0, 0, 0, -1, 0),
    "mirrored columns": (-1, 0, 0, 0, 1, 0),
    "mirrored rows": (1, 0, 0, 0, -1, 0),
    "transposed": (0, 1, 0, 1, 0, 0),
    "turned": (0, -1, 0, 1, 0, 0),
}


def marked_series(orientation: tuple[float, ...], folder: Path) -> tuple[CTVolume, np.ndarray]:
    """A series in air with one bright voxel, and the marker's place in the patient (LPS mm)."""
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    origin, place = np.array([10.0, -20.0, -300.0]), (3, 13, 20)  # (row, column, slice) of the marker
    images = []
    for index in range(24):
        pixels = np.full((12, 16), 24, np.int16)
        if index == place[2]:
            pixels[place[0], place[1]] = 1824
        images.append(
            ct_image(
                index,
                pixels,
                position=(origin[0], origin[1], origin[2] + 2.5 * index),
                spacing=(0.7, 0.8),
                ImageOrientationPatient=list(orientation),
            )
        )
    marker = origin + place[1] * 0.8 * row + place[0] * 0.7 * column + [0, 0, 2.5 * place[2]]
    return read_volume(save(images, folder)), marker


@pytest.mark.parametrize("orientation", ORIENTATIONS.values(), ids=list(ORIENTATIONS))
def test_a_marker_is_where_the_patient_has_it(orientation: tuple[float, ...], tmp_path: Path) -> None:
    volume, marker = marked_series(orientation, tmp_path)
    index, row, column = np.unravel_index(volume.voxels_hu.argmax(), volume.voxels_hu.shape)
    np.testing.assert_allclose((volume.affine @ [column, row, index, 1])[:3], marker, atol=1e-3)
    assert volume.affine[2, 2] > 0


def test_a_real_series_in_jpeg_ls(ct_data: Path) -> None:
    files = read_headers(files_below(ct_data / "ct" / "nlst-toshiba"))
    volume = read_volume(files.series(choose_series(files.headers)))
    assert volume.voxels_hu.shape == (143, 512, 512)
    assert volume.spacing_mm == pytest.approx((2.0, 0.54, 0.54))
    np.testing.assert_allclose(volume.affine[:3, 3], [-150.7812, -160.9375, 928.0], atol=1e-3)
    assert -1000 < np.median(volume.voxels_hu[70, 200:300, 60:160]) < -700
