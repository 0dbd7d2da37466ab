"""An oblique or tilted scan gives the networks the same picture as the straight scan of the same patient."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from inference.encoder_input import EncoderInput, encoder_input
from inference.volume import CTVolume
from models.manifest import InputSpec
from tests.inference.synthetic import volume_of

CENTRE = np.array([12.0, -30.0, -400.0])
SPEC = InputSpec((2.0, 1.5, 1.5), (48, 64, 64), 5)
SPACING = (2.0, 1.1, 0.9)  # slices, rows, columns
SHAPE = (64, 110, 130)
BLOBS = (  # place from the centre (left, back, head), width, height: nothing is symmetric
    ((0.0, 0.0, 0.0), 22.0, 900.0),
    ((14.0, 9.0, 12.0), 7.0, 700.0),
    ((-18.0, 6.0, -8.0), 8.0, -500.0),
    ((4.0, -16.0, 16.0), 6.0, 600.0),
)


def patient_hu(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Hounsfield units at points (..., 3), LPS mm: smooth, so that interpolation between voxels is exact."""
    values = np.full(points.shape[:-1], -1000.0)
    for place, width, height in BLOBS:
        distance = ((points - CENTRE - place) ** 2).sum(axis=-1)
        values += height * np.exp(-distance / (2 * width**2))
    return values


def turn(degrees: float, axis: int) -> NDArray[np.float64]:
    a, b = [index for index in range(3) if index != axis]
    matrix = np.eye(3)
    angle = np.radians(degrees)
    matrix[[a, a, b, b], [a, b, a, b]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
    return matrix


@cache
def scan(name: str) -> CTVolume:
    """What a scanner with columns, rows and slices in the directions of `SCANS` stores."""
    affine = np.eye(4)
    affine[:3, :3] = SCANS[name] * np.array(SPACING[::-1])
    affine[:3, 3] = CENTRE - affine[:3, :3] @ ((np.array(SHAPE[::-1]) - 1) / 2)
    slices, rows, columns = np.indices(SHAPE)
    points = np.stack([columns, rows, slices], axis=-1) @ affine[:3, :3].T + affine[:3, 3]
    voxels = np.rint(patient_hu(points)).astype(np.int16)
    return volume_of(voxels, SPACING, affine=affine)


def tilted(degrees: float) -> NDArray[np.float64]:
    """A gantry tilted about the left-right axis while the table moves along the patient."""
    directions = turn(degrees, 0)
    directions[:, 2] = [0, 0, 1]
    return directions


SCANS = {  # directions of columns, rows and slices (LPS), as columns
    "straight": np.eye(3),
    "oblique by 5 degrees": turn(5, 0),
    "oblique by 15 degrees": turn(-15, 1),
    "oblique by 25 degrees": turn(25, 0),
    "oblique about two axes": turn(14, 0) @ turn(-12, 1),
    "turned in its plane": turn(20, 2),
    "oblique, prone": turn(10, 0) @ np.diag([-1.0, -1.0, 1.0]),
    "oblique, feet first": turn(-8, 1) @ np.diag([-1.0, 1.0, 1.0]),
    "tilted by 5 degrees": tilted(5),
    "tilted by 18.5 degrees": tilted(18.5),
    "tilted by -18.5 degrees": tilted(-18.5),
    "tilted by 30 degrees": tilted(30),
    "tilted by -30 degrees": tilted(-30),
}


def places(prepared: EncoderInput, volume: CTVolume) -> NDArray[np.float64]:
    """Where each voxel of the tensor lies in the patient, LPS mm."""
    source = prepared.source_index(np.stack(np.indices(SPEC.shape), axis=-1).astype(float))
    return source[..., ::-1] @ volume.affine[:3, :3].T + volume.affine[:3, 3]


INSIDE = np.s_[10:-10, 10:-10, 10:-10]  # of the tensor, and of every scan whatever its corners are
NEAR_MM = 1.5 * np.array([0.75, 0.75, 1.0])  # half a voxel by centring, and what the rounding of sizes adds
INTERPOLATION_HU = 20


@pytest.fixture(scope="module")
def straight() -> NDArray[np.float64]:
    """Where the voxels lie that the networks see of the straight scan."""
    volume = scan("straight")
    return places(encoder_input(volume, SPEC), volume)[INSIDE]


@pytest.mark.parametrize("name", SCANS)
def test_the_networks_see_what_they_see_of_a_straight_scan(straight: NDArray[np.float64], name: str) -> None:
    """Every voxel shows the same place, but for sizes in whole voxels, and what is there."""
    volume = scan(name)
    prepared = encoder_input(volume, SPEC)
    seen = places(prepared, volume)[INSIDE]
    assert (np.abs(seen - straight) <= NEAR_MM).all()
    error_hu = 1000 * prepared.tensor.numpy()[INSIDE] - patient_hu(seen)
    assert np.abs(error_hu).max() < INTERPOLATION_HU
    assert abs(error_hu.mean()) < 1


@pytest.mark.parametrize("name", [name for name in SCANS if name != "straight"])
def test_a_scan_that_is_not_straightened_would_be_noticed(straight: NDArray[np.float64], name: str) -> None:
    as_if_straight = volume_of(scan(name).voxels_hu, SPACING)
    values = encoder_input(as_if_straight, SPEC).tensor.numpy()[INSIDE]
    assert np.abs(1000 * values - patient_hu(straight)).max() > 3 * INTERPOLATION_HU
