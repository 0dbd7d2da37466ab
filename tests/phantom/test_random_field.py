import numpy as np
import pytest

from phantom.canvas import Canvas
from phantom.grid import centred_grid
from phantom.random_field import RandomField


@pytest.fixture(scope="module")
def field():
    return RandomField(np.random.default_rng(1), (6.0, 7.0, 8.0))


def _values(field, spacing, shape):
    return field.on(Canvas.blank(centred_grid(spacing, shape), (0.0, 0.0, 0.0)))


def test_the_same_point_has_the_same_value_on_every_grid(field):
    coarse, fine = (
        _values(field, (4.0, 4.0, 4.0), (21, 31, 41)),
        _values(field, (2.0, 2.0, 2.0), (41, 61, 81)),
    )
    np.testing.assert_allclose(coarse, fine[::2, ::2, ::2], atol=1e-4)


def test_it_has_zero_mean_and_unit_variance(field):
    values = _values(field, (5.0, 5.0, 5.0), (70, 80, 80))
    assert abs(values.mean()) < 0.05
    assert values.std() == pytest.approx(1, abs=0.05)


def test_it_is_smooth(field):
    values = _values(field, (0.5, 0.5, 0.5), (40, 40, 40))
    assert np.abs(np.diff(values, axis=2)).max() < 0.5
