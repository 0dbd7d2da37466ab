from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from inference.memory import SLICE_BATCH, MemorySteps, is_out_of_memory

CPU, GPU = torch.device("cpu"), torch.device("cuda")


class Limited:
    """Doubles `values`; has memory for `most` of them at once."""

    def __init__(self, values: Tensor, most: int) -> None:
        self.values = values
        self.most = most
        self.asked: list[int] = []

    def __call__(self, batch: slice) -> Tensor:
        part = self.values[batch]
        self.asked.append(len(part))
        if len(part) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return part * 2


class Wanderer(nn.Module):
    """Notes where it is moved to, and whether it is in inference mode then."""

    def __init__(self) -> None:
        super().__init__()
        self.moves: list[str] = []

    def to(self, device: object, *_: Any, **__: Any) -> Wanderer:
        assert not torch.is_inference_mode_enabled()
        self.moves.append(str(device))
        return self


def test_memory_errors_are_known_by_what_really_raises_them() -> None:
    for allocate in (lambda: torch.empty(1 << 50), lambda: np.empty(1 << 50, np.uint8)):
        with pytest.raises((RuntimeError, MemoryError)) as caught:
            allocate()
        assert is_out_of_memory(caught.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert is_out_of_memory(torch.AcceleratorError("CUDA error: out of memory"))


def test_other_errors_are_not_about_memory() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.zeros(2, 3) @ torch.zeros(2, 3)
    assert not is_out_of_memory(caught.value)
    assert not is_out_of_memory(RuntimeError("CUDA error: an illegal memory access was encountered"))
    assert not is_out_of_memory(OSError("out of memory"))


def test_batches_are_halved_until_they_fit_and_stay_so() -> None:
    steps, values = MemorySteps(CPU, []), torch.arange(21.0)
    work = Limited(values, most=5)
    assert torch.equal(steps.batches(work, len(values)), values * 2)
    assert work.asked == [16, 8, 4, 4, 4, 4, 4, 1]
    assert steps.slice_batch == 4
    said = steps.take_warnings()
    assert [str(count) in sentence for count, sentence in zip((8, 4), said, strict=True)] == [True, True]
    again = Limited(values, most=5)
    assert torch.equal(steps.batches(again, len(values)), values * 2)
    assert again.asked[0] == 4
    assert steps.take_warnings() == ()


def test_the_error_goes_up_when_no_step_is_left() -> None:
    steps = MemorySteps(CPU, [])
    work = Limited(torch.zeros(40), most=0)
    with pytest.raises(torch.OutOfMemoryError):
        steps.batches(work, 40)
    assert work.asked == [16, 8, 4, 2, 1]
    with pytest.raises(torch.OutOfMemoryError):
        steps.whole(lambda: work(slice(0, 1)))


def test_an_error_that_is_not_about_memory_is_not_retried() -> None:
    steps = MemorySteps(GPU, [])
    calls: list[int] = []

    def wrong(batch: slice) -> Tensor:
        calls.append(batch.stop)
        return torch.zeros(2, 3) @ torch.zeros(2, 3)

    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        steps.batches(wrong, 40)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        steps.whole(lambda: wrong(slice(0, 1)))
    assert calls == [SLICE_BATCH, 1]
    assert steps.take_warnings() == ()


def test_on_a_gpu_networks_that_do_not_compute_leave_it_last_of_all() -> None:
    tower, head = Wanderer(), Wanderer()
    steps = MemorySteps(GPU, [tower, head])
    asked: list[int] = []

    def work(batch: slice) -> Tensor:
        steps.bring(head)
        asked.append(batch.stop - batch.start)
        if not steps.offloading:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return torch.ones(batch.stop - batch.start)

    with torch.inference_mode():
        assert steps.batches(work, 3).tolist() == [1, 1, 1]
    assert asked == [3, 1, 1, 1, 1]
    assert set(tower.moves) == {"cpu"}
    assert set(head.moves) == {"cuda"}
    steps.bring(tower)
    assert (tower.moves[-1], head.moves[-1]) == ("cuda", "cpu")
    assert "main memory" in steps.take_warnings()[-1]


def test_a_step_is_logged_once_and_names_nothing_but_numbers(caplog: pytest.LogCaptureFixture) -> None:
    steps, values = MemorySteps(CPU, []), torch.arange(32.0)
    with caplog.at_level(logging.WARNING, logger="inference.memory"):
        steps.batches(Limited(values, most=8), 32)
        steps.batches(Limited(values, most=8), 32)
    assert [(record.message, vars(record)["slice_batch"]) for record in caplog.records] == [
        ("memory ran out", 8)
    ]


_SHORT_OF_MEMORY = """
import json, resource, sys
from pathlib import Path
import torch
from torch import nn
from inference.memory import MemorySteps

torch.set_num_threads(1)
torch.manual_seed(0)
network = nn.Sequential(nn.Conv2d(1, 64, 3, padding=1), nn.GroupNorm(32, 64), nn.SiLU(), nn.Conv2d(64, 1, 3))
images = torch.rand(16, 1, 128, 128)
with torch.inference_mode():
    alone = torch.cat([network(image[None]).mean(dim=(1, 2, 3)) for image in images])
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + (100 << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    steps = MemorySteps(torch.device("cpu"), [network])
    batched = steps.batches(lambda batch: network(images[batch]).mean(dim=(1, 2, 3)), len(images))
print(json.dumps([steps.slice_batch, (batched - alone).abs().max().item(), steps.take_warnings()]))
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's limit of address space")
def test_a_process_that_runs_out_of_main_memory_goes_on_with_smaller_batches() -> None:
    # 16 slices take 64 MiB for each feature map, and 100 MiB are there.
    done = subprocess.run(
        [sys.executable, "-c", _SHORT_OF_MEMORY], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    batch, difference, warnings = json.loads(done.stdout)
    assert 1 <= batch < SLICE_BATCH
    assert difference < 1e-5
    assert "memory of cpu ran out" in warnings[0]
