"""The picture of a slice: the source's own pixels, markers on the right side, a scale that is true."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from structured_report.slice_drawing import DrawnSlice, Headline, Polygon, SlicePicture, draw_slice, windowed

EDGES = {"left": "R", "right": "L", "top": "A", "bottom": "P"}


def picture(rows: int = 512, columns: int = 512, spacing: tuple[float, float] = (0.7, 0.7)) -> SlicePicture:
    return SlicePicture(
        voxels_hu=np.full((rows, columns), -600, dtype=np.int16),
        pixel_spacing_mm=spacing,
        window="lung",
        edges=EDGES,
        notice="DEMONSTRATION - NOT FOR DIAGNOSIS",
        headlines=(Headline("Lung nodule", "87.3 %"),),
        subtitle=("AI finding, present at operating point 50.0 %", "key image 1 of 2"),
        footer=(("Image 1", "W 1500  L -600"),),
    )


def slice_of(drawn: DrawnSlice, one: SlicePicture) -> NDArray[np.uint8]:
    rows = round(one.voxels_hu.shape[0] * drawn.scale[0])
    return drawn.pixels[drawn.slice_top : drawn.slice_top + rows]


@pytest.mark.parametrize(
    ("window", "black", "middle", "white"), [("lung", -1351, -600, 151), ("mediastinum", -161, 40, 241)]
)
def test_windows(window: str, black: int, middle: int, white: int) -> None:
    grey = windowed(np.array([[black, middle, white, -32768, 32767]], dtype=np.int16), window)  # type: ignore[arg-type]
    assert grey[0, 0] == 0
    assert grey[0, 1] == pytest.approx(127.5, abs=1)
    assert grey[0, 2] == 255
    assert (grey[0, 3], grey[0, 4]) == (0, 255)


def test_a_marked_voxel_appears_unscaled_at_its_place() -> None:
    one = picture()
    one.voxels_hu[137, 301] = 3000
    drawn = draw_slice(one)
    assert drawn.scale == (1.0, 1.0)
    shown = slice_of(drawn, one)
    assert tuple(shown[137, 301]) == (255, 255, 255)
    assert np.all(np.abs(shown[130:145, 295:301].astype(int) - 127) <= 1)
    assert drawn.pixels.shape[1] == 512


def circle(row: float, column: float, radius: float = 22) -> Polygon:
    """A closed polygon around the middle of a pixel, as SCOORD counts."""
    turns = np.linspace(0, 2 * np.pi, 73)
    return tuple(
        (column + 0.5 + radius * float(np.cos(turn)), row + 0.5 + radius * float(np.sin(turn)))
        for turn in turns
    )


def test_an_outline_surrounds_its_point_and_leaves_it_as_it_is() -> None:
    one = picture()
    one.voxels_hu[200, 150] = 3000
    outlined = replace(one, outlines=(circle(200, 150),))
    plain, lined = (slice_of(draw_slice(item), one).astype(int) for item in (one, outlined))
    rows, columns = np.nonzero(np.any(plain != lined, axis=2))
    assert (rows.mean(), columns.mean()) == pytest.approx((200.0, 150.0), abs=0.5)
    radius = np.hypot(rows - 200, columns - 150)
    assert radius.min() > 15
    assert radius.max() < 30
    assert tuple(lined[200, 150]) == (255, 255, 255)


def test_attention_colours_its_pixels_and_leaves_the_anatomy_legible() -> None:
    one = picture()
    glow = np.zeros((512, 512), np.float32)
    glow[100:120, 300:340] = 1
    plain, coloured = (slice_of(draw_slice(item), one).astype(int) for item in (one, replace(one, glow=glow)))
    changed = np.any(plain != coloured, axis=2)
    assert changed[100:120, 300:340].all()
    assert changed.sum() == 20 * 40
    red, green, blue = coloured[110, 320]
    assert red > green > blue
    one.voxels_hu[110, 320] += 300
    brighter = slice_of(draw_slice(replace(one, glow=glow)), one).astype(int)
    assert brighter[110, 320].sum() > coloured[110, 320].sum() + 30


def test_several_outlines_are_numbered() -> None:
    one = picture()
    both = replace(one, outlines=(circle(200, 150), circle(300, 350)))
    pair, single = (
        slice_of(draw_slice(item), one).astype(int)
        for item in (both, replace(one, outlines=both.outlines[:1]))
    )
    beside = (slice(160, 185), slice(164, 190))  # above and to the right of the first one
    assert np.any(pair[beside] != single[beside])


def numbers(*centres: tuple[float, float]) -> list[tuple[float, float, float, float]]:
    """Where the white numbers of outlines stand: top, bottom, left, right of each separate piece of text."""
    outlines = tuple(circle(*centre) for centre in centres)
    one = replace(picture(), edges=dict.fromkeys(EDGES, ""), outlines=outlines)
    bare = replace(one, outlines=outlines[:1])  # a single one has no number
    shown, empty = (slice_of(draw_slice(item), one).astype(int) for item in (one, bare))
    white = np.all(shown > 225, axis=2) & ~np.all(empty > 225, axis=2)
    labels, count = ndimage.label(ndimage.binary_dilation(white, iterations=5))
    places = ndimage.find_objects(np.where(white, labels, 0), count)
    return [(at[0].start, at[0].stop, at[1].start, at[1].stop) for at in places]


def test_outlines_at_one_place_share_a_label_that_names_them_all() -> None:
    alone, other = numbers((200, 150), (350, 400))
    (shared,) = numbers((200, 150), (200, 150), (203, 152))
    assert alone[3] - alone[2] < 14
    assert shared[3] - shared[2] > 30
    assert other[0] > 300


@pytest.mark.parametrize("centre", [(2.0, 300.0), (300.0, 509.0), (2.0, 509.0), (509.0, 2.0)])
def test_a_number_stands_within_the_slice(centre: tuple[float, float]) -> None:
    places = numbers((150, 150), centre)
    assert len(places) == 2
    for top, bottom, left, right in places:
        assert top > 0
        assert left > 0
        assert max(bottom, right) < 512
        assert bottom - top > 8


@pytest.mark.parametrize(
    ("centre", "edge"),
    [
        ((268.0, 478.0), "right"),
        ((34.0, 236.0), "top"),
        ((490.0, 236.0), "bottom"),
        ((490.0, 420.0), "scale"),
    ],
)
def test_a_number_is_clear_of_letters_and_scale(centre: tuple[float, float], edge: str) -> None:
    boxes = {
        "right": (240, 272, 484, 512),
        "top": (0, 26, 240, 272),
        "bottom": (486, 512, 240, 272),
        "scale": (484, 512, 310, 512),
    }
    top, bottom, left, right = boxes[edge]
    places = numbers((150, 150), centre)
    assert len(places) == 2
    for first, last, begin, end in places:
        assert last <= top or first >= bottom or end <= left or begin >= right


@pytest.mark.parametrize("spacing", [0.25, 0.54, 0.651, 0.976])
@pytest.mark.parametrize("columns", [256, 512, 768])
def test_the_bottom_letter_is_clear_of_the_scale(spacing: float, columns: int) -> None:
    one = picture(columns, columns, (spacing, spacing))
    with_letter = slice_of(draw_slice(one), one)
    without = slice_of(draw_slice(replace(one, edges={**EDGES, "bottom": ""})), one)
    letter_columns = np.flatnonzero(np.any(with_letter != without, axis=(0, 2)))
    unit = with_letter.shape[1] / 512
    strip = without[-round(30 * unit) :, letter_columns.min() - round(8 * unit) :][:, : round(40 * unit)]
    assert np.all(np.abs(strip.astype(int) - 127) <= 1), "the scale reaches the letter"


def letter(edge: str, text: str) -> NDArray[np.int64]:
    """What one letter at one edge changes in an empty slice."""
    blank = dict.fromkeys(EDGES, "")
    one = replace(picture(), edges=blank)
    lettered = replace(one, edges={**blank, edge: text})
    return np.argwhere(np.any(slice_of(draw_slice(one), one) != slice_of(draw_slice(lettered), one), axis=2))


@pytest.mark.parametrize(
    ("edge", "row", "column"),
    [("left", 256, 15), ("right", 256, 496), ("top", 14, 256), ("bottom", 498, 256)],
)
def test_letters_stand_at_their_edges(edge: str, row: int, column: int) -> None:
    assert letter(edge, "R").mean(axis=0) == pytest.approx((row, column), abs=8)
    assert not np.array_equal(letter(edge, "R"), letter(edge, "L"))


@pytest.mark.parametrize(
    ("shape", "spacing", "scale"),
    [
        ((256, 256), (1.4, 1.4), (2.0, 2.0)),
        ((512, 512), (1.4, 0.7), (2.0, 1.0)),  # pixels are made square
        ((768, 768), (0.5, 0.5), (1.0, 1.0)),
        ((100, 300), (0.5, 1.0), (1.0, 2.0)),
    ],
)
def test_small_and_non_square_slices_are_enlarged(
    shape: tuple[int, int], spacing: tuple[float, float], scale: tuple[float, float]
) -> None:
    one = picture(*shape, spacing)
    drawn = draw_slice(one)
    assert drawn.scale == pytest.approx(scale)
    assert drawn.pixels.shape[1] >= 512
    blank = slice_of(drawn, one).astype(int)
    one.voxels_hu[60, 71] = 3000
    marked = np.argwhere(slice_of(draw_slice(one), one)[:, :, 0] - blank[:, :, 0] > 30)
    assert marked.mean(axis=0) == pytest.approx((60.5 * scale[0] - 0.5, 71.5 * scale[1] - 0.5), abs=0.6)


@pytest.mark.parametrize(("spacing", "centimetres"), [(0.7, 10), (0.5, 5), (0.2, 2)])
def test_the_scale_bar_is_as_long_as_it_says(spacing: float, centimetres: int) -> None:
    one = picture(spacing=(spacing, spacing))
    bright = np.flatnonzero(slice_of(draw_slice(one), one)[512 - 12, :, 0] > 200)
    runs = np.split(bright, np.flatnonzero(np.diff(bright) > 1) + 1)
    bar = max(runs, key=len)
    assert bar.max() - bar.min() == pytest.approx(10 * centimetres / spacing, abs=2)


@pytest.mark.parametrize(
    "name", ["Interlobular septal thickening, bilateral", "Утолщение междольковых перегородок"]
)
def test_names_are_written_in_full_beside_the_number(name: str) -> None:
    one = replace(picture(), headlines=(Headline(name, "100.0 %"),), notice="")
    top = draw_slice(one).pixels[: draw_slice(one).slice_top - 30]
    columns = np.flatnonzero(top.max(axis=(0, 2)) > 120)
    assert columns.min() >= 4
    assert columns.max() <= 507
    number = np.flatnonzero(np.all(top[:, :, 0] < 60, axis=0)[380:440])
    assert number.size, "name and number run into each other"


def test_letters_of_different_scripts_are_glyphs_and_not_boxes() -> None:
    drawn = [draw_slice(replace(picture(), headlines=(Headline(text, ""),))).pixels for text in "ЖЩЫюßéŁα"]
    for index, one in enumerate(drawn):
        assert all(not np.array_equal(one, other) for other in drawn[index + 1 :])
