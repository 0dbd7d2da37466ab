from dataclasses import dataclass

import numpy as np
import pytest

from phantom.canvas import Canvas, Ellipsoid
from phantom.capsules import Capsules
from phantom.grid import centred_grid
from phantom.scene import LUNG, STANDARD, sample, scan

GRID = centred_grid((2.0, 1.0, 1.0), (20, 64, 64))


@dataclass(frozen=True)
class Ball:
    centre: tuple[float, float, float] = (10.0, -5.0, 2.0)

    def paint(self, canvas: Canvas) -> None:
        canvas.hu[...] = 0
        Ellipsoid((0.0, 0.0, 0.0), (12.0, 12.0, 12.0)).paint(canvas, 500)


def test_a_scene_is_painted_about_its_own_centre():
    volume = sample(Ball(), GRID, 0, np.random.default_rng(0))
    z, y, x = np.nonzero(volume == 500)
    centre = [axis[index].mean() for axis, index in ((GRID.x_mm, x), (GRID.y_mm, y), (GRID.z_mm, z))]
    assert centre == pytest.approx((10, -5, 2), abs=0.5)
    assert (volume == 500).sum() * 2 == pytest.approx(4 / 3 * np.pi * 12**3, rel=0.03)


@pytest.mark.parametrize("kernel", [STANDARD, LUNG])
def test_noise_is_what_the_kernel_says(kernel):
    volume = np.stack(list(scan(Ball(), GRID, kernel, np.random.default_rng(1))))
    assert volume.dtype == np.int16
    away = volume[:, 44:, :20]
    assert away.std() == pytest.approx(kernel.noise_hu, rel=0.05)
    assert abs(away.mean()) < 1


def test_a_soft_kernel_smooths_edges_and_keeps_the_whole():
    sharp = sample(Ball(), GRID, 0, np.random.default_rng(0)).astype(int)
    soft = np.stack(
        list(scan(Ball(), GRID, type(STANDARD)("QUIET", soft=True, noise_hu=0), np.random.default_rng(0)))
    ).astype(int)
    assert np.abs(np.diff(soft, axis=2)).max() < np.abs(np.diff(sharp, axis=2)).max()
    assert soft.sum() == pytest.approx(sharp.sum(), rel=1e-3)


def test_a_capsule_is_a_cylinder_with_round_ends():
    canvas = Canvas.blank(centred_grid((0.5, 0.5, 0.5), (80, 80, 80)), (0.0, 0.0, 0.0))
    Capsules.path([(-6.0, -6.0, -3.0), (6.0, 6.0, 3.0)], [3.0]).fill(canvas, 40)
    length = np.linalg.norm([12, 12, 6])
    volume = np.pi * 9 * length + 4 / 3 * np.pi * 27
    assert (canvas.hu == 40).sum() / 8 == pytest.approx(volume, rel=0.03)


def test_brightening_never_darkens():
    canvas = Canvas.blank(centred_grid((1.0, 1.0, 1.0), (20, 20, 20)), (0.0, 0.0, 0.0))
    canvas.hu[...] = 100
    Capsules.path([(-5.0, 0.0, 0.0), (5.0, 0.0, 0.0)], [2.0]).brighten(canvas, 40)
    assert (canvas.hu == 100).all()


def test_a_turned_ellipsoid_points_where_it_is_turned():
    canvas = Canvas.blank(centred_grid((1.0, 1.0, 1.0), (60, 60, 60)), (0.0, 0.0, 0.0))
    Ellipsoid((0.0, 0.0, 0.0), (20.0, 5.0, 5.0), turn=-0.6, tip=-0.3).paint(canvas, 0)
    z, y, x = np.nonzero(canvas.hu == 0)
    points = np.stack([canvas.x.ravel()[x], canvas.y.ravel()[y], canvas.z.ravel()[z]])
    axis = np.linalg.eigh(np.cov(points))[1][:, -1]
    axis *= np.sign(axis[0])
    assert axis[1] < -0.4  # towards the front
    assert axis[2] < -0.15  # towards the feet
