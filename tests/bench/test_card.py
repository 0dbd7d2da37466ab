"""What measures a graphics card, run on a processor; and what the command says where there is no card."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench.card import ENSEMBLE, IMAGE_PASS, RECONSTRUCTION, CardFigures, Effort, measure_card
from bench.machine import matmul_peak
from bench.stopwatch import time_work
from models.dense import dense
from tests.bench.conftest import SMALL_PRODUCTS
from tests.conftest import PROJECT

EFFORT = Effort(repeats=2, warm_up=1, slices=2, steps=2, products=SMALL_PRODUCTS)


@pytest.fixture(scope="module")
def figures(archive: Path, tiny_bundle: Path) -> CardFigures:
    return measure_card(archive, tiny_bundle, "cpu", "float32", EFFORT)


def test_every_stage_is_measured(figures: CardFigures) -> None:
    assert list(figures.median_s) == list(figures.first_s)
    assert {IMAGE_PASS, ENSEMBLE, RECONSTRUCTION} == set(figures.share_of_peak)
    assert all(seconds > 0 for seconds in (*figures.median_s.values(), *figures.first_s.values()))
    assert 0 < figures.weights_bytes <= figures.peak_bytes
    assert all(stage in figures.table() for stage in figures.median_s)


def test_the_first_run_does_not_count() -> None:
    calls: list[int] = []
    timing = time_work(lambda: calls.append(1), torch.device("cpu"), repeats=3, warm_up=2)
    assert len(calls) == 5
    assert len(timing.counted_s) == 3


def test_a_matrix_product_has_a_speed() -> None:
    assert matmul_peak(torch.float32, torch.device("cpu"), SMALL_PRODUCTS) > 1e6


def test_the_networks_own_way_to_multiply_is_among_those_of_the_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[torch.dtype] = []

    def counting(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        asked.append(x.dtype)
        return dense(x, weight)

    monkeypatch.setattr("bench.machine.dense", counting)
    matmul_peak(torch.float32, torch.device("cpu"), SMALL_PRODUCTS)
    assert set(asked) == {torch.float32}


def test_without_a_card_the_command_says_so_and_measures_nothing(tmp_path: Path) -> None:
    file = tmp_path / "gpu.json"
    run = subprocess.run(
        [sys.executable, "-m", "bench", "gpu", "--json", str(file)],
        cwd=PROJECT,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 2
    assert "no CUDA device" in run.stderr
    assert run.stdout == ""
    assert not file.exists()
