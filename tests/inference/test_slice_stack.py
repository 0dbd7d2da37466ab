from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from inference.errors import RefusalCode, VolumeRefusal
from inference.image_plane import ImagePlane
from inference.slice_stack import stack_planes


def plane(z: float, **changes: object) -> ImagePlane:
    base = ImagePlane(f"1.2.{z}", None, (-100.0, -80.0, z), (1, 0, 0, 0, 1, 0), (0.7, 0.8), 12, 16)
    return replace(base, **changes)


def tilted(z: float, degrees: float) -> ImagePlane:
    """A slice of a scan whose gantry was tilted about the left-right axis while the table moved along z."""
    angle = np.radians(degrees)
    return plane(z, orientation=(1, 0, 0, 0, float(np.cos(angle)), float(-np.sin(angle))))


def refusal(planes: list[ImagePlane]) -> VolumeRefusal:
    with pytest.raises(VolumeRefusal) as caught:
        stack_planes(planes)
    return caught.value


def test_order_is_by_position_and_the_affine_maps_indices_to_the_patient() -> None:
    heights = [-300 + 2.5 * index for index in range(30)]
    shuffled = list(np.random.default_rng(0).permutation(heights))
    stack = stack_planes([plane(z) for z in shuffled])
    assert [item.position_mm[2] for item in stack.planes] == heights
    np.testing.assert_allclose(
        stack.affine @ [3, 5, 7, 1], [-100 + 3 * 0.8, -80 + 5 * 0.7, -300 + 7 * 2.5, 1]
    )
    assert stack.spacing_mm == pytest.approx((2.5, 0.7, 0.8))
    assert stack.complete
    assert not stack.warnings


@pytest.mark.parametrize("step_mm", [0.25, 0.3, 0.625, 0.7, 1.25, 2.5])
def test_spacing_is_the_mean_distance_of_rounded_positions(step_mm: float) -> None:
    stack = stack_planes([plane(round(step_mm * index, 1)) for index in range(201)])
    assert stack.spacing_mm[0] == pytest.approx(step_mm, abs=1e-3)
    assert [item.weight for item in stack.slices] == [0.0] * 201  # nothing is smoothed for a rounding
    assert stack.warnings == ()


def test_positions_that_shake_by_microns_are_even() -> None:
    shaken = np.random.default_rng(4).uniform(-1e-3, 1e-3, (60, 3))
    planes = [
        plane(0.0, position_mm=(-100.0 + x, -80.0 + y, 1.0 * k + z)) for k, (x, y, z) in enumerate(shaken)
    ]
    assert stack_planes(planes).warnings == ()


@pytest.mark.parametrize("step_mm", [0.625, 1.25, 3.0])
@pytest.mark.parametrize("absent", [(1,), (20,), (58,), (10, 30)])
def test_missing_slices_among_rounded_positions(step_mm: float, absent: tuple[int, ...]) -> None:
    heights = [round(step_mm * k, 1) for k in range(60) if k not in absent]
    stack = stack_planes([plane(z) for z in heights])
    assert len(stack.slices) == 60
    assert [k for k, item in enumerate(stack.slices) if item.weight] == list(absent)
    assert len(stack.warnings) == len(absent)
    for k, warning in zip(absent, stack.warnings, strict=True):
        assert f"between z = {round(step_mm * (k - 1), 1)} and {round(step_mm * (k + 1), 1)} mm" in warning


def test_a_drift_that_adds_up_is_resampled() -> None:
    """Each distance is nearly that of its neighbours; the last slices would lie 2 mm beside their places."""
    heights = np.cumsum([0.0, *np.linspace(0.98, 1.02, 400)])
    stack = stack_planes([plane(float(z)) for z in heights])
    assert "resampled to even spacing" in stack.warnings[0]
    for k, item in enumerate(stack.slices):
        height = (1 - item.weight) * heights[item.lower] + item.weight * heights[item.upper]
        assert height == pytest.approx(k * heights[-1] / 400, abs=0.03)


def test_planes_that_point_to_the_feet_still_ascend_to_the_head() -> None:
    stack = stack_planes([plane(z, orientation=(1, 0, 0, 0, -1, 0)) for z in (10.0, 0.0, 5.0)])
    assert [item.position_mm[2] for item in stack.planes] == [0.0, 5.0, 10.0]


def test_one_missing_slice_is_interpolated_and_named() -> None:
    stack = stack_planes([plane(2.0 * index) for index in range(20) if index != 7])
    assert len(stack.slices) == 20
    assert (stack.slices[7].lower, stack.slices[7].upper) == (6, 7)
    assert stack.slices[7].weight == pytest.approx(0.5)
    assert "between z = 12.0 and 16.0 mm" in stack.warnings[0]
    assert not stack.complete


def test_two_isolated_missing_slices_are_read_and_two_neighbours_are_not() -> None:
    assert len(stack_planes([plane(2.0 * i) for i in range(20) if i not in {4, 11}]).slices) == 20
    assert refusal([plane(2.0 * i) for i in range(20) if i not in {4, 5}]).code is RefusalCode.MISSING_SLICES


def test_three_missing_slices_are_refused() -> None:
    found = refusal([plane(2.0 * i) for i in range(30) if i not in {4, 11, 20}])
    assert found.code is RefusalCode.MISSING_SLICES
    assert "3 slice(s) are missing" in found.sentence


def test_variable_spacing_is_resampled_by_position() -> None:
    heights = np.cumsum([0.0, *([2.0, 2.3] * 12)])
    stack = stack_planes([plane(float(z)) for z in heights])
    assert "varies from 2.00 to 2.30 mm" in stack.warnings[0]
    assert stack.affine[2, 3] + 24 * stack.affine[2, 2] == pytest.approx(heights[-1])


def test_irregular_spacing_is_refused() -> None:
    heights = np.cumsum([0.0, *([2.0, 2.0, 2.9] * 8)])
    assert refusal([plane(float(z)) for z in heights]).code is RefusalCode.MIXED_GEOMETRY


def test_images_spread_beyond_any_patient_are_refused() -> None:
    assert refusal([plane(1000.0 * index) for index in range(30)]).code is RefusalCode.MIXED_GEOMETRY


def test_two_images_at_one_position_are_refused() -> None:
    planes = [plane(2.0 * index) for index in range(20)]
    found = refusal([*planes, replace(planes[3], sop_instance_uid="1.2.99")])
    assert found.code is RefusalCode.MIXED_GEOMETRY


@pytest.mark.parametrize(
    "changes",
    [
        {"rows": 24},
        {"pixel_spacing_mm": (0.9, 0.8)},
        {"orientation": (0.9950, 0.0998, 0, -0.0998, 0.9950, 0)},
    ],
)
def test_a_mixture_of_geometries_is_refused(changes: dict[str, object]) -> None:
    planes = [plane(2.0 * index) for index in range(20)]
    assert refusal([*planes[:-1], replace(planes[-1], **changes)]).code is RefusalCode.MIXED_GEOMETRY


def test_images_shifted_within_their_plane_are_refused() -> None:
    planes = [plane(2.0 * i, position_mm=(-100.0, -80.0 + (i % 2) * 3, 2.0 * i)) for i in range(20)]
    assert refusal(planes).code is RefusalCode.MIXED_GEOMETRY


@pytest.mark.parametrize("orientation", [(0, 1, 0, 0, 0, -1), (1, 0, 0, 0, 0, -1)])
def test_sagittal_and_coronal_are_not_axial(orientation: tuple[float, ...]) -> None:
    planes = [
        plane(float(i), orientation=orientation, position_mm=(float(i), float(i), 0.0)) for i in range(20)
    ]
    assert refusal(planes).code is RefusalCode.NOT_AXIAL


def test_a_gantry_tilt_is_measured_and_kept_in_the_affine() -> None:
    stack = stack_planes([tilted(3.0 * index, 18.5) for index in range(20)])
    assert stack.tilt_degrees == pytest.approx(18.5, abs=0.01)
    np.testing.assert_allclose(stack.affine[:3, 2], [0, 0, 3])
    assert "18.5 degrees" in stack.warnings[0]


@pytest.mark.parametrize("decimals", [2, 3, 4, 6])
@pytest.mark.parametrize("degrees", [30, -30, 5, -18.5, 0.4])
def test_a_tilt_up_to_the_limit_is_read_however_it_is_rounded(degrees: float, decimals: int) -> None:
    planes = [tilted(3.0 * index, degrees) for index in range(20)]
    rounded = [
        replace(item, orientation=tuple(round(value, decimals) for value in item.orientation))
        for item in planes
    ]
    assert stack_planes(rounded).tilt_degrees == pytest.approx(abs(degrees), abs=0.5)


@pytest.mark.parametrize("degrees", [31, -31, 44])
def test_a_tilt_beyond_the_limit_is_refused(degrees: float) -> None:
    found = refusal([tilted(3.0 * index, degrees) for index in range(20)])
    assert found.code is RefusalCode.GANTRY_TILT
    assert f"tilted by {abs(degrees):.1f} degrees" in found.sentence


def oblique(degrees: float) -> list[ImagePlane]:
    """Planes turned about the left-right axis, stacked across."""
    angle = np.radians(degrees)
    normal = np.array([0, np.sin(angle), np.cos(angle)])
    return [
        plane(
            float(index),
            orientation=(1, 0, 0, 0, float(np.cos(angle)), float(-np.sin(angle))),
            position_mm=tuple(float(v) for v in 2.0 * index * normal),
        )
        for index in range(20)
    ]


@pytest.mark.parametrize("degrees", [5, -12, 25, 30])
def test_an_oblique_stack_is_read_with_a_warning(degrees: float) -> None:
    stack = stack_planes(oblique(degrees))
    assert stack.tilt_degrees == 0
    assert stack.oblique_degrees == pytest.approx(abs(degrees), abs=0.01)
    assert f"{abs(degrees):.1f} degrees from the axial plane" in stack.warnings[0]


def test_an_oblique_stack_beyond_the_limit_is_refused() -> None:
    found = refusal(oblique(30.6))
    assert found.code is RefusalCode.NOT_AXIAL
    assert "30.6 degrees from the axial plane; up to 30 can be read" in found.sentence


def test_a_single_plane_is_no_stack() -> None:
    assert refusal([plane(0.0)]).code is RefusalCode.TOO_FEW_SLICES
