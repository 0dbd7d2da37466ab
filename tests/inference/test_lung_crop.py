"""Where the networks' box lies in a series that is longer or wider than it: the middle, or the lungs."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import nibabel
import numpy as np
import pytest

from inference.encoder_input import EncoderInput, encoder_input
from inference.lung_crop import lung_spans
from inference.lungs import Lungs, find_lungs
from inference.preparation import prepare_nifti
from inference.stages import Stages
from inference.upright import upright
from inference.volume import CTVolume
from models.manifest import InputSpec
from phantom.cases import HELD_OUT_SEEDS, Case
from phantom.grid import centred_grid
from phantom.render import render
from tests.inference.synthetic import volume_of

SPEC = InputSpec((6.0, 3.0, 3.0), (60, 120, 120), 7)
"""360 mm in every direction, as the published one, on a coarser grid."""

AIR, BELOW_MM, ABOVE_MM = -1000, 400, 120


@cache
def chest() -> CTVolume:
    """A thorax of 300 mm in a field of view of 512 mm."""
    grid = centred_grid((5.0, 4.0, 4.0), (60, 128, 128))
    affine = np.diag([4.0, 4.0, 5.0, 1.0])
    affine[:3, 3] = grid.origin_mm
    return volume_of(render(Case(HELD_OUT_SEEDS[0], ()), grid), grid.spacing_mm, affine=affine)


@cache
def trunk() -> CTVolume:
    """The thorax with 400 mm of abdomen below it and 120 mm of neck above."""
    volume = chest()
    lowest = volume.voxels_hu[:1]
    abdomen = np.where(lowest > -300, np.int16(30), lowest).repeat(BELOW_MM // 5, axis=0)
    neck = np.repeat(volume.voxels_hu[-1:], ABOVE_MM // 5, axis=0)
    affine = volume.affine.copy()
    affine[2, 3] -= BELOW_MM
    voxels = np.concatenate([abdomen, volume.voxels_hu, neck])
    return volume_of(voxels, volume.spacing_mm, affine=affine)


def shown(lungs: Lungs, volume: CTVolume, prepared: EncoderInput) -> float:
    """Share of the lungs' voxels that lie in the box."""
    points = (np.argwhere(lungs.left | lungs.right) + 0.5) * lungs.factors - 0.5
    back = np.linalg.inv(prepared.to_source)
    places = points @ back[:3, :3].T + back[:3, 3]
    inside = (places >= -0.5) & (places <= np.array(prepared.tensor.shape) - 0.5)
    return float(inside.all(axis=1).mean())


def mirrored(volume: CTVolume, axis: int) -> CTVolume:
    """The same patient with rows (1) or columns (2) stored the other way round."""
    affine = volume.affine.copy()
    affine[:3, 3] += (volume.voxels_hu.shape[axis] - 1) * affine[:3, 2 - axis]
    affine[:3, 2 - axis] *= -1
    return replace(volume, voxels_hu=np.flip(volume.voxels_hu, axis), affine=affine)


def oblique(volume: CTVolume, degrees: float) -> CTVolume:
    """The same voxels in a patient who lies askew by so many degrees."""
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])
    affine = volume.affine.copy()
    affine[:3] = turn @ affine[:3]
    return replace(volume, affine=affine)


def test_lungs_within_the_middle_leave_the_published_crop_as_it_is() -> None:
    volume = chest()
    published, with_lungs = encoder_input(volume, SPEC), encoder_input(volume, SPEC, find_lungs(volume))
    assert with_lungs.tensor.equal(published.tensor)
    np.testing.assert_array_equal(with_lungs.to_source, published.to_source)
    assert with_lungs.planes == published.planes
    assert with_lungs.warnings == ()


@pytest.mark.parametrize("axis", [None, 1, 2])
def test_a_scan_of_the_whole_trunk_is_cropped_to_its_lungs(axis: int | None) -> None:
    volume = trunk() if axis is None else mirrored(trunk(), axis)
    lungs = find_lungs(volume)
    assert shown(lungs, volume, encoder_input(volume, SPEC)) < 0.7
    prepared = encoder_input(volume, SPEC, lungs)
    assert shown(lungs, volume, prepared) > 0.998
    (warning,) = prepared.warnings
    lost = re.search(r"36\d mm of the 820 mm from feet to head.* lost (\d+) mm of the lungs", warning)
    assert lost is not None
    levels = np.flatnonzero(lungs.areas_mm2 >= 0.02 * lungs.areas_mm2.max())
    assert int(lost[1]) == pytest.approx((levels[-1] + 1) * 5 - (820 + 362) / 2, abs=3)
    first, last = prepared.planes
    centre = prepared.source_index(np.array([(first + last - 1) / 2, 60, 60]))[0]
    assert centre == pytest.approx(lungs.middle_slice, abs=6)


def test_the_voxels_of_the_moved_crop_are_those_of_the_series() -> None:
    """What the box shows is what the published preparation gives of the same stretch of the body."""
    volume = trunk()
    prepared = encoder_input(volume, SPEC, find_lungs(volume))
    ends = np.array([[0, 60, 60], [59, 60, 60]])
    low, high = np.rint(prepared.source_index(ends)[:, 0]).astype(int)
    cut = replace(volume, voxels_hu=volume.voxels_hu[low : high + 1])
    assert len(cut.voxels_hu) * 5 == pytest.approx(360, abs=6)
    again = encoder_input(cut, SPEC)
    middle = slice(2, 57)
    assert (prepared.tensor[middle] - again.tensor[middle]).abs().mean() < 0.02


def test_a_patient_far_off_the_middle_is_shown_whole() -> None:
    volume = chest()
    shifted = np.roll(volume.voxels_hu, 32, axis=2)
    shifted[:, :, :32] = AIR
    aside = replace(volume, voxels_hu=shifted)
    lungs = find_lungs(aside)
    prepared = encoder_input(aside, SPEC, lungs)
    assert shown(lungs, aside, encoder_input(aside, SPEC)) < 0.97
    assert shown(lungs, aside, prepared) > 0.998
    (warning,) = prepared.warnings
    assert "from right to left" in warning


def test_an_oblique_scan_of_the_trunk_is_cropped_to_its_lungs() -> None:
    volume = oblique(trunk(), 12)
    lungs = find_lungs(volume)
    prepared = encoder_input(volume, SPEC, lungs)
    assert shown(lungs, volume, encoder_input(volume, SPEC)) < 0.7
    assert shown(lungs, volume, prepared) > 0.99
    assert any("from feet to head" in warning for warning in prepared.warnings)


def test_lungs_longer_than_the_box_lose_as_much_at_either_end() -> None:
    volume = trunk()
    affine = volume.affine.copy()
    affine[2, 2] = 9.0
    stretched = replace(volume, spacing_mm=(9.0, 4.0, 4.0), affine=affine)
    lungs = find_lungs(stretched)
    (low, high), *_ = lung_spans(lungs, upright(stretched))
    assert (high - low) * 9 > 360
    prepared = encoder_input(stretched, SPEC, lungs)
    (warning,) = prepared.warnings
    assert re.search(r"\d+ mm of the lungs do not fit", warning)
    first, last = prepared.source_index(np.array([[0, 60, 60], [59, 60, 60]]))[:, 0]
    assert first - low == pytest.approx(high - last, abs=2)


def test_a_prepared_study_says_that_its_crop_was_moved(tmp_path: Path) -> None:
    volume = trunk()
    path = tmp_path / "trunk.nii"
    affine = np.diag([-4.0, -4.0, 5.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(volume.voxels_hu.transpose(2, 1, 0), affine), path)
    study = prepare_nifti(path, "trunk", SPEC, stages=Stages())
    assert study.lungs is not None
    assert shown(study.lungs, study.volume, study.encoder_input) > 0.998
    assert [warning for warning in study.warnings if "around the lungs" in warning] == list(
        study.encoder_input.warnings
    )


def test_lungs_at_the_very_end_of_a_series_do_not_move_the_box_beyond_it() -> None:
    volume = trunk()
    cut = replace(volume, voxels_hu=volume.voxels_hu[: -(ABOVE_MM // 5 + 6)])
    prepared = encoder_input(cut, SPEC, find_lungs(cut))
    first, last = prepared.planes
    assert (first, last) == (0, 60)
    assert prepared.source_index(np.array([last - 0.5, 0, 0]))[0] <= len(cut.voxels_hu) - 0.5 + 1e-6
