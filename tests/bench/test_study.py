"""A study is measured from ZIP to JSON, and everything that its time goes into is named."""

from __future__ import annotations

import json
import zipfile
from dataclasses import asdict
from pathlib import Path

import pytest

from bench.sharing import sharing_ratios
from bench.study import WHOLE, StudyFigures, measure_study
from tests.bench.conftest import SLICES, SMALL_PRODUCTS


@pytest.fixture(scope="module")
def figures(archive: Path, tiny_bundle: Path) -> StudyFigures:
    return measure_study(archive, tiny_bundle, "float32", 2, SMALL_PRODUCTS)


def test_the_archive_is_made_once(archive: Path) -> None:
    with zipfile.ZipFile(archive) as members:
        assert len(members.namelist()) == SLICES
    assert list(archive.parent.iterdir()) == [archive]


def test_the_stages_make_up_the_whole(figures: StudyFigures) -> None:
    stages = {stage: seconds for stage, seconds in figures.seconds.items() if stage != WHOLE}
    assert {"unpack", "headers and choice", "read", "lungs", "prepare", "ctclip", "diffusion"} <= set(stages)
    assert all(seconds >= 0 for seconds in stages.values())
    # Medians of two runs are means, so that they add up.
    assert sum(stages.values()) == pytest.approx(figures.whole_s)
    assert figures.slowest_s >= figures.whole_s
    assert figures.slices == SLICES


def test_speed_is_work_over_seconds(figures: StudyFigures) -> None:
    assert set(figures.speed) == {"ctclip", "supervised", "diffusion"}
    for stage, speed in figures.speed.items():
        assert speed.gflop_per_s == pytest.approx(speed.tflop * 1e3 / figures.seconds[stage])
        assert speed.share_of_peak == pytest.approx(speed.gflop_per_s * 1e9 / figures.matmul_flop_per_s)


def test_the_table_has_a_line_a_stage_and_the_figures_are_json(figures: StudyFigures) -> None:
    lines = figures.table().splitlines()
    assert len({line.count("|") for line in lines}) == 1
    for stage, seconds in figures.seconds.items():
        assert any(line.startswith(f"| {stage} ") and f"{seconds:.2f}" in line for line in lines)
    assert json.loads(json.dumps(asdict(figures)))["seconds"][WHOLE] == figures.whole_s


def test_unshared_work_is_compared_by_member_and_prompt(archive: Path, tiny_bundle: Path) -> None:
    ratios = sharing_ratios(archive, tiny_bundle, repeats=1)
    assert list(ratios) == ["preparation for each of 3 members", "image pass for each of 5 prompts"]
    assert all(ratio > 0 for ratio in ratios.values())
