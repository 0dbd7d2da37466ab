from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from inference.encoder_input import (
    encoder_input,
    reconstruction_planes,
    resampled_length,
    slice_images,
    slice_planes,
)
from inference.errors import RefusalCode, VolumeRefusal
from inference.nifti import read_nifti
from inference.upright import upright
from models.manifest import InputSpec
from tests.inference.synthetic import volume_of
from tests.inference.test_volume import ORIENTATIONS, marked_series

PUBLISHED = InputSpec((1.5, 0.75, 0.75), (240, 480, 480), 20)
SMALL = InputSpec((4.5, 2.25, 2.25), (80, 160, 160), 7)


def box(mask: np.ndarray) -> list[list[int]]:
    """First and last index of what is set, along each axis."""
    used = [np.flatnonzero(mask.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    return [[int(axis[0]) for axis in used], [int(axis[-1]) for axis in used]]


@pytest.mark.parametrize("name", ["pad", "crop", "mixed", "floor_float32", "odd_pad"])
def test_the_published_preparation(parity: Path, name: str) -> None:
    expected = load_file(parity / "preprocess" / "expected.safetensors")
    facts = json.loads((parity / "preprocess" / "expected.json").read_text())[name]
    prepared = encoder_input(read_nifti(parity / "preprocess" / f"{name}.nii.gz", name=name), PUBLISHED)
    values = prepared.tensor.numpy()
    z, x, y = expected[f"{name}.index_dhw"].T
    np.testing.assert_allclose(values[z, x, y], expected[f"{name}.value"], atol=2e-5)
    np.testing.assert_allclose(values[120, ::4, ::4], expected[f"{name}.center_plane_d120"], atol=2e-5)
    assert box(values != -1) == facts["box_dhw"]
    assert values.sum(dtype=np.float64) == pytest.approx(facts["sum"], rel=1e-9)
    assert (float(values.min()), float(values.max())) == pytest.approx((facts["min"], facts["max"]), abs=2e-5)


def test_the_published_slices(parity: Path) -> None:
    expected = load_file(parity / "preprocess" / "slices_mixed.safetensors")
    facts = json.loads((parity / "preprocess" / "expected.json").read_text())["diffusion_slices_mixed"]
    prepared = encoder_input(read_nifti(parity / "preprocess" / "mixed.nii.gz", name="mixed"), PUBLISHED)
    images = slice_images(prepared.tensor, 256)
    assert images.shape == (facts["classifier_n"], 1, 256, 256)
    np.testing.assert_allclose(images[100], expected["classifier_slice_100"], atol=2e-5)
    planes = reconstruction_planes(240, 16)
    assert planes == facts["recon_source_slices"]
    chosen = slice_images(prepared.tensor, 256, planes)
    np.testing.assert_allclose(chosen[..., ::4, ::4], expected["recon_slices_stride4"], atol=2e-5)


def test_sizes_are_computed_in_float32() -> None:
    assert resampled_length(300, 0.7, 1.5) == 140
    assert resampled_length(50, 0.9, 0.75) == 59
    assert slice_planes(240) == range(12, 228)


def test_a_voxel_of_the_tensor_leads_back_to_the_ct() -> None:
    middle = np.array([42, 62.5, 153])
    distances = (np.stack(np.mgrid[:60, :200, :220], axis=-1) - middle) * [3.0, 1.2, 1.1]
    voxels = 1900 * np.exp(-(distances**2).sum(axis=-1) / (2 * 8.0**2)) - 1000  # a blob of 8 mm
    volume = volume_of(np.rint(voxels).astype(np.int16), (3.0, 1.2, 1.1))
    prepared = encoder_input(volume, SMALL)
    weights = prepared.tensor.numpy() + 1
    centre = [float((weights * axis).sum() / weights.sum()) for axis in np.mgrid[:80, :160, :160]]
    np.testing.assert_allclose(prepared.source_index(np.array(centre)), middle, atol=0.05)
    first, last = prepared.planes
    assert np.abs(prepared.source_index(np.array([first, 0, 0]))[0]) < 1.5
    assert np.abs(prepared.source_index(np.array([last - 1, 0, 0]))[0] - 59) < 1.5


@pytest.mark.parametrize("orientation", ORIENTATIONS.values(), ids=list(ORIENTATIONS))
def test_left_back_and_head_are_where_the_networks_expect_them(
    orientation: tuple[float, ...], tmp_path: Path
) -> None:
    volume, marker = marked_series(orientation, tmp_path)
    turned = upright(volume)
    place = np.array(np.unravel_index(turned.voxels_hu.argmax(), turned.voxels_hu.shape))
    index, row, column, _ = turned.to_source @ [*place, 1]
    np.testing.assert_allclose((volume.affine @ [column, row, index, 1])[:3], marker, atol=1e-3)
    corners = [
        turned.to_source @ [*corner, 1] for corner in ((0, 0, 0), np.array(turned.voxels_hu.shape) - 1)
    ]
    low, high = (volume.affine @ [corner[2], corner[1], corner[0], 1] for corner in corners)
    assert (high[:3] > low[:3]).all()  # x to the left, y to the back, z to the head
    spec = InputSpec((2.5, 0.75, 0.75), (32, 32, 32), 5)
    prepared = encoder_input(volume, spec)
    peak = np.array(np.unravel_index(int(prepared.tensor.argmax()), spec.shape))
    index, row, column = prepared.source_index(peak)
    np.testing.assert_allclose((volume.affine @ [column, row, index, 1])[:3], marker, atol=1.3)
    # The tensor's axes are (z, x, y), each in the direction of the patient's.
    middle = (np.array(spec.shape) - 1) / 2
    centre = volume.affine @ [*(np.array(volume.voxels_hu.shape[::-1]) - 1) / 2, 1]
    beyond = (peak - middle)[[1, 2, 0]] * (marker - centre[:3])
    assert (beyond > -0.8).all()


def test_a_tilted_stack_is_straightened() -> None:
    """A rod along the patient's axis, which a tilted gantry shows at another row in every slice."""
    angle = np.radians(20)
    affine = np.eye(4)
    affine[:3, 1] = [0, np.cos(angle), -np.sin(angle)]
    affine[:3, 2] = [0, 0, 3]
    _, rows, columns = np.mgrid[:40, :80, :60]
    y = affine[1, 1] * rows
    voxels = np.where((np.abs(y - 40) < 4) & (np.abs(columns - 20) < 4), 500, -1000).astype(np.int16)
    spacing = tuple(float(v) for v in np.linalg.norm(affine[:3, :3], axis=0)[::-1])
    volume = volume_of(voxels, (spacing[0], spacing[1], spacing[2]), affine=affine)
    straight = upright(volume)
    rod = np.argwhere(straight.voxels_hu > 0)
    for level in np.unique(rod[:, 0])[3:-3]:
        place = rod[rod[:, 0] == level].mean(axis=0)
        index, row, column, _ = straight.to_source @ [*place, 1]
        np.testing.assert_allclose((volume.affine @ [column, row, index, 1])[:2], [20, 40], atol=1)
    assert rod[:, 2].max() - rod[:, 2].min() <= 8
    assert straight.spacing_mm[0] == pytest.approx(3 * np.cos(angle))


def test_too_few_planes_after_resampling_are_refused() -> None:
    volume = volume_of(np.zeros((20, 16, 16), np.int16), (1.0, 1.0, 1.0))
    with pytest.raises(VolumeRefusal) as caught:
        encoder_input(volume, PUBLISHED)
    assert caught.value.code is RefusalCode.TOO_FEW_SLICES
    assert "13 planes" in caught.value.sentence


def test_an_oblique_volume_of_needles_is_refused_before_it_takes_memory() -> None:
    """Columns 0.01 mm apart and rows 500 mm: upright it would be pictures of 50,000 x 4,500."""
    angle = np.radians(5)
    affine = np.eye(4)
    affine[:3, 0] = np.array([np.cos(angle), np.sin(angle), 0]) * 0.01
    affine[:3, 1] = np.array([-np.sin(angle), np.cos(angle), 0]) * 500
    affine[:3, 2] = [0, 0, 3]
    volume = volume_of(np.zeros((8, 2, 200), np.int16), (3.0, 500.0, 0.01), affine=affine)
    with pytest.raises(VolumeRefusal) as refused:
        upright(volume)
    assert refused.value.code == RefusalCode.MIXED_GEOMETRY
