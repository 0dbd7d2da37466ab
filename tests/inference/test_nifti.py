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


def with_header(folder: Path, **fields: object) -> Path:
    """A volume towards left, back and head whose header says something else in some of its fields."""
    image = nibabel.Nifti1Image(asymmetric(), np.diag([-0.7, -0.8, 2.5, 1]))
    image.set_qform(image.affine, 1)
    path = folder / "volume.nii"
    nibabel.save(image, path)
    content = bytearray(path.read_bytes())
    header = np.ndarray((), nibabel.nifti1.header_dtype, content)
    for name, value in fields.items():
        header[name] = value
    path.write_bytes(content)
    return path


FLAT = {"srow_x": [-0.7, 0, 0, 0], "srow_y": [-0.7, 0, 0, 0]}


def test_an_sform_that_places_nothing_gives_way_to_the_qform(tmp_path: Path) -> None:
    volume = read_nifti(with_header(tmp_path, **FLAT), name="x")
    np.testing.assert_allclose(volume.affine, np.diag([0.7, 0.8, 2.5, 1]), atol=1e-6)
    assert volume.warnings == ()


def test_without_any_usable_form_the_array_is_taken_as_stored(tmp_path: Path) -> None:
    volume = read_nifti(with_header(tmp_path, **FLAT, qform_code=0), name="x")
    np.testing.assert_array_equal(volume.voxels_hu, asymmetric().transpose(2, 1, 0))
    assert "no orientation" in volume.warnings[0]


def test_two_voxel_sizes_are_said_and_affine_and_spacing_agree(tmp_path: Path) -> None:
    volume = read_nifti(with_header(tmp_path, pixdim=[1, 0.9, 0.9, 3, 0, 0, 0, 0]), name="x")
    assert volume.spacing_mm == pytest.approx((3, 0.9, 0.9))
    np.testing.assert_allclose(volume.affine[:3, :3], np.diag([0.9, 0.9, 3]), atol=1e-6)
    assert "two voxel sizes" in volume.warnings[0]


@pytest.mark.parametrize(
    "fields",
    [
        {"datatype": 9999},
        {"pixdim": [1, 1e6, 1e6, 1e6, 0, 0, 0, 0]},
        {"pixdim": [1, np.nan, 1, 1, 0, 0, 0, 0]},
        {"dim": [3, -6, 5, 4, 1, 1, 1, 1]},
    ],
)
def test_headers_that_make_no_sense_are_refused(tmp_path: Path, fields: dict[str, object]) -> None:
    with pytest.raises(UploadRefusal) as caught:
        read_nifti(with_header(tmp_path, **fields), name="x")
    assert caught.value.code is RefusalCode.NOT_A_NIFTI


def test_a_volume_beyond_memory_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with pytest.raises(UploadRefusal) as caught:
        read_nifti(with_header(tmp_path, dim=[3, 30000, 30000, 3000, 1, 1, 1, 1]), name="x")
    assert caught.value.code is RefusalCode.TOO_LARGE


def test_complex_numbers_are_no_hounsfield_units(tmp_path: Path) -> None:
    with pytest.raises(UploadRefusal):
        read_nifti(written(tmp_path, asymmetric().astype(np.complex64), np.eye(4)), name="x")
