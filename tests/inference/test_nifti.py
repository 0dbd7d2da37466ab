from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from inference.errors import RefusalCode, UploadRefusal
from inference.nifti import read_nifti


def asymmetric() -> np.ndarray:
    """(x, y, z) with every voxel different."""
    return np.arange(6 * 5 * 4, dtype=np.int16).reshape(6, 5, 4) - 60


def written(folder: Path, values: np.ndarray, affine: np.ndarray) -> Path:
    image = nibabel.Nifti1Image(values, affine)
    path = folder / "volume.nii.gz"
    nibabel.save(image, path)
    return path


def test_the_training_data_orientation_is_taken_as_stored(tmp_path: Path) -> None:
    volume = read_nifti(written(tmp_path, asymmetric(), np.diag([-0.7, -0.8, 2.5, 1])), name="case")
    np.testing.assert_array_equal(volume.voxels_hu, asymmetric().transpose(2, 1, 0))
    assert volume.voxels_hu.dtype == np.int16
    assert volume.spacing_mm == pytest.approx((2.5, 0.8, 0.7))
    np.testing.assert_allclose(volume.affine, np.diag([0.7, 0.8, 2.5, 1]), atol=1e-6)
    assert (volume.study_uid, volume.series_uid) == ("nifti_case", "nifti_case_series")


@pytest.mark.parametrize("axcodes", ["RAS", "LAS", "RPI", "ASR", "SLP", "PIR"])
def test_any_other_orientation_is_brought_to_that_one(tmp_path: Path, axcodes: str) -> None:
    standard = nibabel.Nifti1Image(asymmetric(), np.diag([-0.7, -0.8, 2.5, 1]))
    turn = nibabel.orientations.ornt_transform(
        nibabel.io_orientation(standard.affine), nibabel.orientations.axcodes2ornt(axcodes)
    )
    turned = standard.as_reoriented(turn)
    assert "".join(nibabel.aff2axcodes(turned.affine)) == axcodes
    nibabel.save(turned, tmp_path / "turned.nii")
    volume = read_nifti(tmp_path / "turned.nii", name="x")
    np.testing.assert_array_equal(volume.voxels_hu, asymmetric().transpose(2, 1, 0))
    np.testing.assert_allclose(volume.affine, np.diag([0.7, 0.8, 2.5, 1]), atol=1e-5)
    assert volume.spacing_mm == pytest.approx((2.5, 0.8, 0.7))


def test_without_orientation_the_array_is_taken_as_stored(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(asymmetric(), np.diag([0.7, 0.8, 2.5, 1]))
    image.set_sform(None)
    image.set_qform(None)
    nibabel.save(image, tmp_path / "bare.nii")
    volume = read_nifti(tmp_path / "bare.nii", name="x")
    np.testing.assert_array_equal(volume.voxels_hu, asymmetric().transpose(2, 1, 0))
    assert "no orientation" in volume.warnings[0]


def test_slope_and_intercept_of_the_header_are_applied(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(asymmetric(), np.diag([-0.7, -0.8, 2.5, 1]))
    image.header.set_slope_inter(0.5, -100)
    image.header.set_data_dtype(np.int16)
    nibabel.save(image, tmp_path / "scaled.nii")
    values = read_nifti(tmp_path / "scaled.nii", name="x").voxels_hu
    np.testing.assert_array_equal(values, 0.5 * asymmetric().transpose(2, 1, 0) - 100)


def test_fractions_of_an_hu_are_kept_and_nan_is_air(tmp_path: Path) -> None:
    values = asymmetric().astype(np.float32) + 0.25
    values[0, 0, 0] = np.nan
    volume = read_nifti(written(tmp_path, values, np.diag([-0.7, -0.8, 2.5, 1])), name="x")
    assert volume.voxels_hu.dtype == np.float32
    assert volume.voxels_hu[0, 0, 0] == -1024
    assert volume.voxels_hu[1, 0, 0] == values[0, 0, 1]


@pytest.mark.parametrize("content", [b"", b"not a volume", b"\x1f\x8b broken gzip"])
def test_anything_else_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.nii.gz"
    path.write_bytes(content)
    with pytest.raises(UploadRefusal) as caught:
        read_nifti(path, name="x")
    assert caught.value.code is RefusalCode.NOT_A_NIFTI


def test_four_dimensions_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, np.zeros((4, 4, 4, 3), np.int16), np.eye(4))
    with pytest.raises(UploadRefusal):
        read_nifti(path, name="x")
