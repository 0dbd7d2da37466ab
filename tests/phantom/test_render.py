import numpy as np
import pytest
import torch
from scipy import ndimage
from torch.nn import functional

from phantom.cases import Case, draw_case
from phantom.grid import centred_grid, prepared_grid
from phantom.render import acquisition_grid, finding_masks, render, thorax
from phantom.scene import LUNG, scan

COARSE = centred_grid((5.0, 3.0, 3.0), (68, 120, 120))


def _lungs(volume):
    """The two largest regions of lung density."""
    labels, count = ndimage.label((volume > -1000) & (volume < -600))
    sizes = ndimage.sum_labels(np.ones_like(labels), labels, range(1, count + 1))
    return labels == 1 + int(np.argmax(sizes))


def test_the_encoders_grid_holds_what_resampling_makes_of_the_acquisition():
    """What the networks are trained on is what the node will make of the files of the same case."""
    case = draw_case(11, abnormal=True)
    grid, spacing, size = acquisition_grid(case), (4.5, 2.25, 2.25), (80, 160, 160)
    acquired = np.stack(list(scan(thorax(case), grid, LUNG, case.stream("noise"))))
    prepared = prepared_grid(grid, spacing, size)
    direct = render(case, prepared.grid, noise_hu=LUNG.noise_hu * 0.54).clip(-1000, 1000).astype(np.float32)

    ratio = np.float32(grid.spacing_mm) / np.float32(spacing)
    new = [int(n) for n in np.float32(grid.shape) * ratio]
    resampled = functional.interpolate(
        torch.from_numpy(acquired).float().clamp(-1000, 1000)[None, None], size=new, mode="trilinear"
    ).numpy()[0, 0]
    cut = [max(0, (n - m) // 2) for n, m in zip(new, size, strict=True)]
    z, y, x = (slice(c, c + n) for c, n in zip(cut, direct.shape, strict=True))
    resampled = resampled[z, y, x]

    assert np.corrcoef(direct.ravel(), resampled.ravel())[0, 1] > 0.985
    assert np.abs(direct - resampled).mean() < 40
    lung = (direct < -700) & (direct > -950)
    assert abs(np.median(direct[lung]) - np.median(resampled[lung])) < 5
    air = np.s_[5:-5, :12, 40:-40]
    assert direct[air].std() == pytest.approx(resampled[air].std(), rel=0.25)


def test_the_same_case_gives_the_same_voxels_and_another_seed_another_person():
    case = Case(5, ())
    assert np.array_equal(render(case, COARSE), render(case, COARSE))
    assert np.abs(render(case, COARSE).astype(int) - render(Case(6, ()), COARSE)).mean() > 50


def test_a_voxel_does_not_depend_on_the_slab_it_is_painted_in():
    case, grid = draw_case(8, abnormal=True), centred_grid((5.0, 2.0, 2.0), (40, 180, 180))
    whole = render(case, grid, noise_hu=0)
    part = render(case, grid.slices(17, 22), noise_hu=0)
    assert (whole[17:22] == part).mean() > 0.9999  # float32 sums of another order may round another way


def test_a_radiologist_finds_everything_where_it_belongs():
    for seed in (1, 2, 3):
        case = Case(seed, ())
        volume, habitus = render(case, COARSE, noise_hu=0), thorax(case).habitus
        lungs = _lungs(volume)
        litres = lungs.sum() * 45e-6
        assert 2.5 < litres < 7
        assert -890 < np.median(volume[lungs]) < -810
        x, y, z = (
            axis - middle
            for axis, middle in zip((COARSE.x_mm, COARSE.y_mm, COARSE.z_mm), habitus.centre, strict=True)
        )
        assert lungs[:, :, x < 0].sum() > lungs[:, :, x > 0].sum()  # the heart takes room on the left
        heart = volume[np.abs(z - habitus.heart.centre[2]) < 10][:, np.abs(y + 25) < 15]
        assert heart[:, :, (x > 20) & (x < 45)].mean() > 0 > heart[:, :, (x < -55) & (x > -80)].mean()
        under_the_domes = volume[np.abs(z + 110) < 8][:, np.abs(y) < 20]
        assert 30 < np.median(under_the_domes[:, :, (x < -40) & (x > -80)]) < 130  # the liver is on the right
        back = volume[lungs & (y[None, :, None] > 40)].mean()
        front = volume[lungs & (y[None, :, None] < -20)].mean()
        assert back > front  # gravity
        assert (volume > 350).mean() > 0.005  # bone
        assert volume[:, 0].max() == -1000  # air in front of the patient


def test_an_acquisition_covers_both_lungs_with_room_to_spare():
    for seed in (21, 22, 23):
        case = draw_case(seed, abnormal=True)
        grid = acquisition_grid(case)
        assert grid.shape[0] >= 120
        assert grid.shape[1:] == (512, 512)
        assert 0.7 <= grid.spacing_mm[1] <= 0.8
        habitus = thorax(case).habitus
        assert grid.z_mm[-1] > habitus.centre[2] + habitus.top + 5
        assert grid.z_mm[0] < habitus.centre[2] + habitus.bottom - 5
        for end in (0, -1):
            plane = centred_grid(grid.spacing_mm, grid.shape).slices(
                *((0, 1) if end == 0 else (len(grid.z_mm) - 1, len(grid.z_mm)))
            )
            assert not (
                (render(case, plane, noise_hu=0) < -700) & (render(case, plane, noise_hu=0) > -900)
            ).any()


def test_a_normal_case_has_no_masks():
    assert finding_masks(Case(4, ()), COARSE) == {}
