"""Where a finding lies: the polygon on its best slice, its side, and the file that keeps the maps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from inference.body_extent import BodyExtent
from inference.encoder_input import encoder_input
from inference.findings import findings, side_warning
from inference.lungs import Lungs
from inference.overview import CoronalOverview
from inference.saliency import SaliencyMap, saliency_maps
from inference.saliency_file import read_saliency, saliency_bytes
from inference.saliency_region import saliency_piece
from inference.study_result import SaliencyRegion
from inference.volume import CTVolume
from models.ctvit import pooled_tokens
from models.manifest import FindingSpec, InputSpec, SaliencySpec
from tests.inference.synthetic import volume_of
from tests.inference.test_saliency import feet_first, oblique, prone, straight

SHAPE = (20, 70, 60)
SPACING = (3.0, 1.3, 1.4)
SPEC = InputSpec((4.0, 2.0, 2.0), (16, 48, 48), 5)
SIDES = SaliencySpec(0.2, 0.95, 40)

OVERVIEW = CoronalOverview(np.full((5, 7), -800, np.int16), (2.0, 0.7))


def map_of(
    tokens: NDArray[np.float32], volume: CTVolume, spec: InputSpec = SPEC, body: BodyExtent | None = None
) -> SaliencyMap:
    """A map whose values are those of tokens (z, x, y) that are not negative."""
    leaf = torch.from_numpy(tokens)[None, ..., None]
    prepared = encoder_input(volume, spec)
    shape = volume.voxels_hu.shape
    planes = len(tokens)  # undoes the mean over planes
    (found,) = saliency_maps(
        lambda values: planes * pooled_tokens(values).sum(dim=1, keepdim=True), leaf, [0], prepared, shape,
        body=body,
    )  # fmt: skip
    return found


def body_in_the_middle() -> BodyExtent:
    """Rows 16 to 55 and columns 12 to 47 of every slice."""
    inside = np.zeros((10, 35, 30), bool)
    inside[:, 8:28, 6:24] = True
    return BodyExtent(inside, (2, 2, 2), SHAPE)


def volume(place: Callable[[CTVolume], CTVolume] = straight) -> CTVolume:
    return place(volume_of(np.zeros(SHAPE, np.int16), SPACING))


def one_token(at: tuple[int, int, int], value: float = 1.0) -> NDArray[np.float32]:
    tokens = np.zeros((8, 12, 12), np.float32)
    tokens[at] = value
    return tokens


def region_of(saliency: SaliencyMap, ct: CTVolume, threshold: float) -> SaliencyRegion:
    piece = saliency_piece(saliency, threshold)
    assert piece is not None
    region = piece.region(ct)
    assert region is not None
    return region


def filled(region: SaliencyRegion, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """The pixels whose centre lies in the polygon, drawn 8 times as large."""
    rows, columns = shape
    image = Image.new("1", (8 * columns, 8 * rows))
    ImageDraw.Draw(image).polygon([(8 * x, 8 * y) for x, y in region.polygon], fill=1)
    return np.asarray(image)[4::8, 4::8]


@pytest.mark.parametrize("place", [straight, feet_first, prone, oblique])
def test_the_polygon_encloses_what_lies_above_the_threshold_on_the_slice_of_the_peak(
    place: Callable[[CTVolume], CTVolume],
) -> None:
    ct = volume(place)
    saliency = map_of(one_token((4, 7, 4)), ct)
    region = region_of(saliency, ct, 0.4)
    assert (region.slice.index, region.slice.row, region.slice.column) == saliency.peak()
    assert region.slice.sop_instance_uid == ct.sop_instance_uids[region.slice.index]
    assert (region.peak, region.threshold) == (pytest.approx(1.0), 0.4)
    inside = saliency.plane(region.slice.index) >= 0.4
    drawn = filled(region, SHAPE[1:])
    assert inside.sum() > 20
    assert (inside & drawn).sum() > 0.9 * (inside | drawn).sum()
    assert drawn[int(region.slice.row), int(region.slice.column)]


def test_a_polygon_is_closed_and_counts_from_the_corner_of_the_first_pixel() -> None:
    ct = volume()
    saliency = map_of(np.ones((8, 12, 12), np.float32), ct)
    region = region_of(saliency, ct, 0.5)
    assert region.polygon[0] == region.polygon[-1]
    assert len(region.polygon) > 3
    x, y = np.array(region.polygon).T
    _, rows, columns = SHAPE
    # All of the image lies above the threshold: the outline is the image's own edge, within half a pixel.
    assert (0 <= x.min() < 0.5, columns - 0.5 < x.max() <= columns) == (True, True)
    assert (0 <= y.min() < 0.5, rows - 0.5 < y.max() <= rows) == (True, True)


def test_only_the_piece_of_the_peak_counts_and_its_holes_are_filled() -> None:
    ct = volume()
    tokens = np.zeros((8, 12, 12), np.float32)
    tokens[4, 2:7, 2:7] = 0.8
    tokens[4, 4, 4] = 0.0  # a hole
    tokens[4, 3, 3] = 1.0
    tokens[4, 10, 10] = 0.9  # another piece
    saliency = map_of(tokens, ct)
    region = region_of(saliency, ct, 0.5)
    drawn = filled(region, SHAPE[1:])
    plane = saliency.plane(region.slice.index)
    hole = np.unravel_index(int(np.where(drawn, plane, 9).argmin()), plane.shape)
    assert plane[hole] < 0.3  # within the outline
    other = np.unravel_index(int(np.where(drawn, 0, plane).argmax()), plane.shape)
    assert plane[other] > 0.5  # above the threshold, and outside of it


def test_without_a_peak_above_the_threshold_there_is_no_piece() -> None:
    ct = volume()
    assert saliency_piece(map_of(one_token((4, 7, 4), 0.3), ct), 0.4) is None
    assert saliency_piece(map_of(one_token((4, 7, 4), 0.0), ct), 0.4) is None


def test_a_polygon_does_not_cross_itself() -> None:
    ct = volume()
    tokens = np.random.default_rng(3).random((8, 12, 12), np.float32)
    region = region_of(map_of(tokens, ct), ct, 0.55)
    points = np.array(region.polygon)
    starts, ends = points[:-1], points[1:]
    assert len(starts) > 12

    def turn(a: NDArray[np.float64], b: NDArray[np.float64], c: NDArray[np.float64]) -> float:
        return float((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))

    for one in range(len(starts)):
        for other in range(one + 2, len(starts) - (one == 0)):
            a, b, c, d = starts[one], ends[one], starts[other], ends[other]
            assert not (turn(a, b, c) * turn(a, b, d) < 0 and turn(c, d, a) * turn(c, d, b) < 0)


@pytest.mark.parametrize("place", [straight, oblique])
def test_padding_says_nothing_at_the_edge_of_the_ct(place: Callable[[CTVolume], CTVolume]) -> None:
    """Tokens of padding alone are loud, those that hold the CT say 1: so says every pixel of it."""
    ct = place(volume_of(np.zeros((20, 30, 30), np.int16), (5.0, 2.5, 2.5)))
    spec = InputSpec((5.0, 2.5, 2.5), (32, 64, 64), 5)
    quiet = map_of(np.ones((8, 8, 8), np.float32), ct, spec)
    assert 0.1 < quiet.seen.mean() < 0.9
    loud = map_of(np.where(quiet.seen, 1, 99).astype(np.float32), ct, spec)
    np.testing.assert_allclose(loud.volume(), 1, rtol=1e-5)
    assert saliency_piece(loud, 2.0) is None


@pytest.mark.parametrize("place", [straight, feet_first, prone])
def test_a_region_ends_with_the_body_and_air_around_it_says_nothing(
    place: Callable[[CTVolume], CTVolume],
) -> None:
    """Every place of the map is above the threshold, and those of air are the loudest."""
    ct, body = volume(place), body_in_the_middle()
    known = map_of(np.ones((8, 12, 12), np.float32), ct, body=body)
    assert 0.1 < known.seen.mean() < 0.9
    values = np.where(known.seen, 1, 99).astype(np.float32)
    values[4, 9, 6] = 1.1
    saliency = map_of(values, ct, body=body)
    peak = saliency.peak()
    assert peak is not None
    assert body.holds(np.array(peak))
    region = region_of(saliency, ct, 0.5)
    assert region.peak == pytest.approx(1.1)
    x, y = np.array(region.polygon).T
    np.testing.assert_allclose([x.min(), x.max(), y.min(), y.max()], [12, 48, 16, 56], atol=1.5)
    mask = saliency.plane(region.slice.index) >= 0.5
    assert (mask & filled(region, SHAPE[1:])).sum() > 0.95 * (mask | filled(region, SHAPE[1:])).sum()


def test_a_peak_at_the_edge_of_the_body_is_anchored_in_it() -> None:
    """The middle of the place with the peak lies in air, and the region is the part of it in the body."""
    ct, body = volume(), body_in_the_middle()
    edge = map_of(np.zeros((8, 12, 12), np.float32), ct, body=body)
    held = body.holds(edge.points)
    across, down = 5, 6
    outer = next(x for x in range(12) if edge.seen[4, x, down] and not held[4, x, down])
    tokens = np.zeros((8, 12, 12), np.float32)
    tokens[4, outer, down] = 1.0
    saliency = map_of(tokens, ct, body=body)
    assert saliency.peak_place() == (4, outer, down)
    assert outer < across
    region = region_of(saliency, ct, 0.4)
    assert body.holds(np.array([region.slice.index, region.slice.row, region.slice.column]))
    x, _ = np.array(region.polygon).T
    assert x.min() > 10


def test_what_reaches_the_threshold_in_no_voxel_of_the_body_has_no_region() -> None:
    ct, body = volume(), body_in_the_middle()
    edge = map_of(np.zeros((8, 12, 12), np.float32), ct, body=body)
    held = body.holds(edge.points)
    outer = next(x for x in range(12) if edge.seen[4, x, 6] and not held[4, x, 6])
    saliency = map_of(one_token((4, outer, 6)), ct, body=body)
    index, _, _ = saliency.peak() or (-1, 0, 0)
    reached = float(saliency.plane(index).max())
    assert 0 < reached < 0.95
    piece = saliency_piece(saliency, (1 + reached) / 2)
    assert piece is not None
    assert piece.region(ct) is None


def lungs_of(left: tuple[slice, ...], right: tuple[slice, ...]) -> Lungs:
    """Boxes of lung in a CT of SHAPE, a coarse voxel being a voxel."""
    fields = np.zeros((2, *SHAPE), bool)
    fields[0][left], fields[1][right] = True, True
    return Lungs(fields[0], fields[1], (1, 1, 1), SPACING, 3000.0, -850.0)


LEFT, RIGHT = np.s_[3:17, 15:55, 35:55], np.s_[3:17, 15:55, 5:25]


@pytest.mark.parametrize(
    ("columns", "side"),
    [
        ([45], "left"),
        ([15], "right"),
        ([45, 15], None),
        ([58], "left"),  # outside of both: the nearer one
        ([1], "right"),
    ],
)
def test_the_side_is_that_of_the_lung_with_nearly_all_of_the_saliency(
    columns: list[int], side: str | None
) -> None:
    ct = volume()
    saliency = map_of(np.zeros((8, 12, 12), np.float32), ct)
    values = np.zeros_like(saliency.values)
    for column in columns:
        distances = np.linalg.norm((saliency.points - (10, 35, column)) * SPACING, axis=-1)
        values[np.unravel_index(int(distances.argmin()), values.shape)] = 1.0
    piece = saliency_piece(replace(saliency, values=values), 0.5)
    assert piece is not None
    assert piece.side(lungs_of(LEFT, RIGHT)) == side
    # In a prone patient's images the columns run the other way: the mask says which lung is the left one.
    assert piece.side(lungs_of(RIGHT, LEFT)) == {"left": "right", "right": "left", None: None}[side]


def test_only_present_findings_have_a_region_and_sides_are_told_where_they_can_be_relied_on() -> None:
    ct = volume()
    saliency = map_of(one_token((4, 9, 6)), ct)
    specs = tuple(FindingSpec(name, (f"supervised_{name}",), 0.5, 1) for name in ("Nodule", "Effusion"))
    columns = {"supervised_Nodule": 0.9, "supervised_Effusion": 0.2}
    maps = {spec.name: saliency for spec in specs}
    lungs = lungs_of(LEFT, RIGHT)

    def found(reliance: SaliencySpec | None) -> list[tuple[bool, str | None]]:
        given = findings(specs, columns, maps, ct, lungs, reliance=reliance)
        return [(item.region is not None, item.laterality) for item in given]

    assert found(SIDES) == [(True, "left"), (False, None)]
    assert found(replace(SIDES, side_agreement=0.89)) == [(True, None), (False, None)]
    assert found(replace(SIDES, side_agreement=None)) == [(True, None), (False, None)]
    assert found(replace(SIDES, voxel_threshold=1.5)) == [(False, None), (False, None)]
    assert found(None) == [(False, None), (False, None)]

    told = findings(specs, columns, maps, ct, lungs, reliance=SIDES)
    assert side_warning(told, SIDES) is None
    poor = replace(SIDES, side_agreement=0.61)
    assert "named in 40 held-out findings 61 % were right" in (side_warning(told, poor) or "")
    assert "nobody measured" in (side_warning(told, replace(SIDES, side_agreement=None)) or "")
    assert side_warning(told[1:], poor) is None  # nothing is located


@pytest.mark.parametrize("place", [straight, feet_first, oblique])
def test_the_file_gives_back_the_maps_and_where_they_lie(place: Callable[[CTVolume], CTVolume]) -> None:
    ct = volume(place)
    tokens = np.random.default_rng(1).random((8, 12, 12), np.float32)
    maps = {"Lung nodule": map_of(tokens, ct), "Узел / 2": map_of(one_token((4, 7, 4)), ct)}
    content = saliency_bytes(maps, ct.affine, OVERVIEW)
    assert content == saliency_bytes(maps, ct.affine, OVERVIEW)
    stored = read_saliency(content)
    assert list(stored.maps) == list(maps)
    assert all(saliency.body is None for saliency in stored.maps.values())
    np.testing.assert_array_equal(stored.overview.hu, OVERVIEW.hu)
    assert stored.overview.spacing_mm == OVERVIEW.spacing_mm
    for name, saliency in maps.items():
        np.testing.assert_allclose(stored.maps[name].values, saliency.values, rtol=1e-3)
        np.testing.assert_allclose(stored.maps[name].plane(9), saliency.plane(9), rtol=2e-3, atol=1e-6)
        assert stored.maps[name].peak() == saliency.peak()
        index, row, column = saliency.points[3, 5, 7]
        expected = ct.affine @ [column, row, index, 1]
        np.testing.assert_allclose(stored.place_affine(name) @ [3, 5, 7, 1], expected, atol=1e-6)


def test_the_file_keeps_the_body() -> None:
    ct, body = volume(), body_in_the_middle()
    saliency = map_of(np.ones((8, 12, 12), np.float32), ct, body=body)
    stored = read_saliency(saliency_bytes({"Узел": saliency}, ct.affine, OVERVIEW)).maps["Узел"]
    assert stored.body is not None
    assert stored.body.factors == body.factors
    np.testing.assert_array_equal(stored.body.inside, body.inside)
    np.testing.assert_array_equal(stored.plane(9), saliency.plane(9))


def test_a_file_of_another_format_or_kind_is_no_saliency() -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - numpy's own words
        read_saliency(b"something else")
    with BytesIO() as buffer:
        np.savez(buffer, names=np.frombuffer(b'{"format": 99, "findings": []}', np.uint8))
        with pytest.raises(ValueError, match="saliency of format 99"):
            read_saliency(buffer.getvalue())


def test_no_finding_makes_an_empty_file() -> None:
    assert read_saliency(saliency_bytes({}, np.eye(4), OVERVIEW)).maps == {}
