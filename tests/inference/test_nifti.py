from __future__ import annotations

import tracemalloc
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


def test_a_slope_that_single_precision_cannot_hold_holds_values_at_the_ends(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(asymmetric(), np.diag([-0.7, -0.8, 2.5, 1]))
    image.header.set_slope_inter(3e38, -100)
    nibabel.save(image, tmp_path / "steep.nii")
    voxels = read_nifti(tmp_path / "steep.nii", name="x").voxels_hu
    assert set(np.unique(voxels)) == {-32768, -100, 32767}


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


def test_values_beyond_single_precision_are_held_as_others_are(tmp_path: Path) -> None:
    values = asymmetric().astype(np.float64) + 0.25
    values[0, 0, 0], values[1, 0, 0] = 1e300, -1e300
    volume = read_nifti(written(tmp_path, values, np.diag([-0.7, -0.8, 2.5, 1])), name="x")
    assert volume.voxels_hu[0, 0, :3].tolist() == [32767, -32768, values[2, 0, 0]]


@pytest.mark.parametrize("pixdim", [1e-40, 1e-3, 2000.0])
def test_voxels_that_no_ct_has_are_refused(tmp_path: Path, pixdim: float) -> None:
    image = nibabel.Nifti1Image(asymmetric(), np.diag([-0.7, -0.8, 2.5, 1]))
    image.header["pixdim"][1] = pixdim
    nibabel.save(image, tmp_path / "odd.nii")
    with pytest.raises(UploadRefusal) as refused:
        read_nifti(tmp_path / "odd.nii", name="x")
    assert refused.value.code == RefusalCode.NOT_A_NIFTI


@pytest.mark.parametrize("content", [b"", b"not a volume", b"\x1f\x8b broken gzip"])
def test_anything_else_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.nii.gz"
    path.write_bytes(content)
    with pytest.raises(UploadRefusal) as caught:
        read_nifti(path, name="x")
    assert caught.value.code is RefusalCode.NOT_A_NIFTI


def test_several_volumes_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, np.zeros((4, 4, 4, 3), np.int16), np.eye(4))
    with pytest.raises(UploadRefusal) as caught:
        read_nifti(path, name="x")
    assert caught.value.code is RefusalCode.NOT_A_NIFTI
    assert "an array of 4 x 4 x 4 x 3 numbers" in caught.value.sentence


def test_a_fourth_dimension_of_one_is_none(tmp_path: Path) -> None:
    path = written(tmp_path, asymmetric()[..., None], np.diag([-0.7, -0.8, 2.5, 1]))
    np.testing.assert_array_equal(read_nifti(path, name="x").voxels_hu, asymmetric().transpose(2, 1, 0))


def test_colours_are_no_hounsfield_units(tmp_path: Path) -> None:
    colours = np.zeros((6, 5, 4), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    with pytest.raises(UploadRefusal) as caught:
        read_nifti(written(tmp_path, colours, np.eye(4)), name="x")
    assert "colours" in caught.value.sentence


@pytest.mark.parametrize("dtype", ["<i1", "<u1", "<i2", ">i2", "<u2", "<i4", ">i4", "<f4", ">f4", "<f8"])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_whole_numbers_of_any_kind_are_the_same_voxels(dtype: str, suffix: str, tmp_path: Path) -> None:
    values = (asymmetric() + 60 if "u" in dtype else asymmetric()).astype(dtype)
    header = nibabel.Nifti1Header(endianness=dtype[0])
    header.set_data_dtype(dtype)
    path = tmp_path / f"volume{suffix}"
    nibabel.save(nibabel.Nifti1Image(values, np.diag([-0.7, -0.8, 2.5, 1]), header), path)
    volume = read_nifti(path, name="x")
    assert volume.voxels_hu.dtype == np.int16
    np.testing.assert_array_equal(volume.voxels_hu, values.transpose(2, 1, 0).astype(np.int16))


def test_values_beyond_sixteen_bits_are_held_at_their_ends(tmp_path: Path) -> None:
    values = asymmetric().astype(np.int32)
    values[0, 0, :2] = 10**6, -(10**6)
    volume = read_nifti(written(tmp_path, values, np.diag([-0.7, -0.8, 2.5, 1])), name="x")
    assert volume.voxels_hu[:2, 0, 0].tolist() == [32767, -32768]


def test_one_fraction_in_the_last_slice_is_enough(tmp_path: Path) -> None:
    values = np.zeros((6, 5, 30), np.float32)
    values[3, 2, 29] = 0.5
    volume = read_nifti(written(tmp_path, values, np.diag([-0.7, -0.8, 2.5, 1])), name="x")
    assert volume.voxels_hu.dtype == np.float32
    assert volume.voxels_hu[29, 2, 3] == 0.5


@pytest.mark.parametrize(("dtype", "slope"), [(np.uint8, 4.0), (np.float64, 1.0), (np.int16, 0.5)])
def test_memory_holds_the_volume_once(dtype: type, slope: float, tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.ones((100, 100, 400), dtype), np.diag([-0.7, -0.8, 2.5, 1]))
    image.header.set_slope_inter(slope, -3)
    path = tmp_path / "volume.nii"
    nibabel.save(image, path)
    tracemalloc.start()
    volume = read_nifti(path, name="x")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < volume.voxels_hu.nbytes + 4_000_000


def test_a_header_that_promises_more_than_the_file_holds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UploadRefusal) as caught:
        read_nifti(with_header(tmp_path, dim=[3, 600, 500, 400, 1, 1, 1, 1]), name="x")
    assert caught.value.code is RefusalCode.NOT_A_NIFTI


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
