from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
import torch

import inference.memory_use
from inference.memory_use import MemberMemory, MemoryMeter

LARGE = 96 << 20


def refused() -> None:
    raise PermissionError


def measured(hold_s: float, *, kernel_counts: bool) -> tuple[MemberMemory, MemberMemory]:
    """A member that takes memory, and one after it that takes none."""
    if not kernel_counts:
        inference.memory_use.reset_peak = refused
    meter = MemoryMeter(torch.device("cpu"))
    with meter.measure("greedy"):
        held = np.ones(LARGE, np.uint8)
        time.sleep(hold_s)
        del held
    with meter.measure("modest"):
        time.sleep(hold_s)
    greedy, modest = meter.members
    return greedy, modest


def measured_anew(hold_s: float, *, kernel_counts: bool) -> tuple[MemberMemory, MemberMemory]:
    """In a process of its own: one that ran networks keeps freed memory, and a peak may lie within it."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(measured, hold_s, kernel_counts=kernel_counts).result()


def test_the_peak_is_that_of_the_member_alone() -> None:
    greedy, modest = measured_anew(0.0, kernel_counts=True)
    assert (greedy.member, modest.member) == ("greedy", "modest")
    assert greedy.peak_bytes - modest.peak_bytes > 0.9 * LARGE
    assert greedy.seconds > 0


def test_it_is_sampled_where_the_kernel_does_not_count() -> None:
    greedy, modest = measured_anew(0.2, kernel_counts=False)
    assert greedy.peak_bytes - modest.peak_bytes > 0.9 * LARGE
    assert modest.peak_bytes > 0


def test_a_member_that_fails_is_not_counted() -> None:
    meter = MemoryMeter(torch.device("cpu"))
    with pytest.raises(ValueError, match="broken"), meter.measure("broken"):
        raise ValueError("broken")
    assert meter.members == []
