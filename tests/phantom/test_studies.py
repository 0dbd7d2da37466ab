import numpy as np
import pytest
from scipy import ndimage

from phantom.cases import DEMO_CASES
from phantom.head import Head, head_grid, render_head
from phantom.quality import INSERTS_HU, QualityPhantom, quality_grid, render_quality
from phantom.scene import slabs
from phantom.studies import demo_studies


def _largest_lung_like_region_ml(volume, grid):
    """The largest connected region of lung density, at half resolution."""
    labels, count = ndimage.label((volume < -600) & (volume > -980))
    if count == 0:
        return 0.0
    sizes = ndimage.sum_labels(np.ones_like(labels), labels, range(1, count + 1))
    return float(sizes.max()) * np.prod(grid.spacing_mm) / 1000


def test_the_demonstration_sends_six_chests_a_head_and_a_phantom_of_realistic_size():
    studies = demo_studies()
    assert [study.kind for study in studies] == ["chest"] * 6 + ["head", "quality_phantom"]
    assert [study.truth for study in studies] == [case.findings for case in DEMO_CASES] + [(), ()]
    assert all(study.grid.shape[0] >= 120 and study.grid.shape[1:] == (512, 512) for study in studies)
    assert len({study.study.uid for study in studies}) == 8
    assert len({study.study.identity.patient_id for study in studies}) == 8
    sets = {study.study.identity.character_set for study in studies}
    assert {("ISO_IR 100",), ("ISO_IR 144",), ("", "ISO 2022 IR 87"), ("ISO_IR 192",)} <= sets


def test_the_demonstration_can_be_sent_again_as_new_studies():
    assert not {s.study.uid for s in demo_studies()} & {s.study.uid for s in demo_studies(salt="second run")}


def test_a_head_has_skull_brain_and_air_but_no_lung():
    grid = head_grid()
    volume = render_head(5, grid, noise_hu=0)[::2, ::2, ::2]
    voxel_ml = np.prod(grid.spacing_mm) * 8 / 1000
    assert 900 < ((volume > 15) & (volume < 45)).sum() * voxel_ml < 2500
    assert (volume > 900).sum() * voxel_ml > 150
    outside, _ = ndimage.label(volume < -900)
    enclosed = (outside > 0) & (outside != outside[-1, 0, 0])
    assert 5 < enclosed.sum() * voxel_ml < 150  # sinuses, mastoid cells, pharynx
    assert _largest_lung_like_region_ml(volume, grid) * 8 < 400  # the head rest's foam


def test_the_quality_phantom_has_its_inserts_where_it_says():
    grid, phantom = quality_grid(), QualityPhantom(6)
    volume = render_quality(6, grid, noise_hu=0)
    z = int(np.argmin(np.abs(grid.z_mm - phantom.centre[2] - 20)))
    for name, hu in INSERTS_HU.items():
        x, y = phantom.insert_position_mm(name)
        column, row = (int(np.argmin(np.abs(axis - at))) for axis, at in ((grid.x_mm, x), (grid.y_mm, y)))
        assert (volume[z - 3 : z + 4, row - 8 : row + 9, column - 8 : column + 9] == hu).all()
    assert volume[z, 0, 256] == -1000


@pytest.mark.parametrize(("scene", "grid"), [(Head(1), head_grid()), (QualityPhantom(1), quality_grid())])
def test_both_are_painted_slab_by_slab_in_order(scene, grid):
    short = grid.slices(50, 56)
    parts = [canvas.z.ravel() + scene.centre[2] for canvas in slabs(scene, short)]
    assert np.concatenate(parts) == pytest.approx(short.z_mm, abs=1e-3)
