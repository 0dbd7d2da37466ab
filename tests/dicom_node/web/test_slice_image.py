"""One slice as a picture: its window, its proportions, its sides."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dicom_node.slice_pixels import Slice
from dicom_node.web.slice_image import WINDOWS, Window, slice_png
from inference.image_plane import ImagePlane

PLANE = ImagePlane("1.2", None, (0, 0, 0), (1, 0, 0, 0, 1, 0), (0.7, 0.7), 512, 512)


def _picture(hu: NDArray[np.int16], window: Window, plane: ImagePlane = PLANE) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(slice_png(Slice(hu, plane), window))))


@pytest.mark.parametrize("name", WINDOWS)
def test_grey_is_the_linear_function_of_the_window(name: str) -> None:
    window = WINDOWS[name]
    # PS3.3 C.11.2.1.2.1: black up to centre - 0.5 - (width - 1) / 2, white beyond + (width - 1) / 2.
    lowest = window.centre - 0.5 - (window.width - 1) / 2
    hu = np.full((512, 512), -1024, np.int16)
    values = [lowest - 50, window.centre, lowest + window.width + 50, lowest + window.width / 4]
    for number, value in enumerate(values):
        hu[100, 100 + number] = round(value)
    black, middle, white, quarter = _picture(hu, window)[100, 100:104].astype(int)
    assert (black, white) == (0, 255)
    assert abs(middle - 128) <= 1
    assert abs(quarter - 64) <= 1


def test_a_window_of_one_unit_does_not_divide_by_nothing() -> None:
    hu = np.zeros((512, 512), np.int16)
    hu[:, 256:] = 1
    picture = _picture(hu, Window(1, 1))
    assert (picture[100, 100], picture[100, 300]) == (0, 255)


def test_pixels_are_square_and_letters_can_be_read() -> None:
    small = np.full((64, 128), -1000, np.int16)
    picture = _picture(small, WINDOWS["lung"], replace(PLANE, pixel_spacing_mm=(2.0, 1.0)))
    assert picture.shape == (512, 512)
    assert _picture(np.zeros((700, 600), np.int16), WINDOWS["bone"]).shape == (700, 600)


def _lettered(orientation: tuple[float, float, float, float, float, float]) -> list[NDArray[np.uint8]]:
    """The four edges: left, right, top, bottom."""
    hu = np.full((512, 512), -1000, np.int16)
    picture = _picture(hu, WINDOWS["mediastinum"], replace(PLANE, orientation=orientation))
    return [picture[236:276, :30], picture[236:276, -30:], picture[:32, 236:276], picture[-32:, 236:276]]


def test_letters_follow_the_orientation() -> None:
    upright = _lettered((1, 0, 0, 0, 1, 0))
    assert all(edge.max() > 200 for edge in upright)
    mirrored = _lettered((-1, 0, 0, 0, 1, 0))
    # Left and right have changed places (each letter is drawn from its own edge), above and below have not.
    assert _ink(mirrored[0]) == _ink(upright[1])
    assert _ink(mirrored[1]) == _ink(upright[0])
    assert _ink(mirrored[2]) == _ink(upright[2])
    prone = _lettered((-1, 0, 0, 0, -1, 0))
    assert _ink(prone[2]) == _ink(upright[3])
    assert _ink(upright[0]) != _ink(upright[1])


def _ink(edge: NDArray[np.uint8]) -> list[int]:
    """Bright pixels by row, whatever their column, without empty rows."""
    return [count for count in (edge > 128).sum(axis=1).tolist() if count]


def test_an_outline_lies_on_its_pixels_and_below_the_letters() -> None:
    # The whole of pixel (row 64, column 32) and of those up to (row 127, column 95); rows are twice as high.
    square = ((32.0, 64.0), (96.0, 64.0), (96.0, 128.0), (32.0, 128.0), (32.0, 64.0))
    to_the_left = ((0.0, 0.0), (20.0, 0.0), (20.0, 255.0), (0.0, 255.0), (0.0, 0.0))
    shown = Slice(np.full((256, 256), -1000, np.int16), replace(PLANE, pixel_spacing_mm=(2.0, 1.0)))
    content = slice_png(shown, WINDOWS["lung"], [square, to_the_left])
    picture = np.asarray(Image.open(io.BytesIO(content))).astype(int)
    assert picture.shape == (1024, 512, 3)
    for row, column in [(256, 128), (512, 128), (384, 64), (384, 192)]:
        near = picture[row - 2 : row + 3, column - 2 : column + 3].reshape(-1, 3)
        amber = near[near[:, 0] - near[:, 2] > 100]
        assert len(amber) >= 5, (row, column)
    inside = picture[270:500, 75:180]
    assert (inside == inside[..., :1]).all()
    letter = picture[496:528, 6:28].reshape(-1, 3)
    assert (letter > 220).all(axis=1).sum() > 20
