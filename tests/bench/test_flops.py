"""Operations of the published networks, and of members that share an encoder."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.flops import reconstruction_flops, stage_work
from bench.full_size_bundle import full_size_manifest
from bench.work import published_work
from tests.bench.conftest import TINY


def test_the_published_networks_take_the_published_work() -> None:
    tflop = [flop / 1e12 for flop in published_work().values()]
    assert tflop == pytest.approx([0.79, 2.08, 1.40], abs=0.005)


def test_a_shared_encoder_counts_once_and_two_count_twice() -> None:
    shared = stage_work(full_size_manifest(sizes=TINY))
    apart = stage_work(full_size_manifest(sizes=TINY, two_towers=True))
    assert shared["ctclip"].image_pass > 0
    assert shared["supervised"].image_pass == 0
    assert apart["supervised"].image_pass == shared["ctclip"].image_pass
    assert shared["supervised"].head == apart["supervised"].head > 0


def test_a_reconstruction_counts_every_slice_and_step_where_it_is_on() -> None:
    manifest = full_size_manifest(sizes=TINY)
    diffusion = manifest.members.diffusion
    assert diffusion is not None
    assert diffusion.reconstruction is not None
    assert stage_work(manifest)["diffusion"].reconstruction == 0
    on = replace(diffusion, reconstruction=replace(diffusion.reconstruction, enabled=True, slices=2, steps=3))
    work = stage_work(replace(manifest, members=replace(manifest.members, diffusion=on)))["diffusion"]
    assert work.reconstruction == 6 * reconstruction_flops(diffusion, 1, 1)
    # The guidance is a forward and a backward pass of the classifier beside the UNet's forward.
    one_slice = work.slice_classifier // 22  # 5 % to 95 % of 24 planes
    assert reconstruction_flops(diffusion, 1, 1) > 2 * one_slice
