from __future__ import annotations

import time

import numpy as np
import pytest
import torch

import inference.memory_use
from inference.memory_use import MemberMemory, MemoryMeter

LARGE = 96 << 20


def measured(*, hold_s: float = 0.0) -> tuple[MemberMemory, MemberMemory]:
    """A member that takes memory, and one after it that takes none."""
    meter = MemoryMeter(torch.device("cpu"))
    with meter.measure("greedy"):
        held = np.ones(LARGE, np.uint8)
        time.sleep(hold_s)
        del held
    with meter.measure("modest"):
        time.sleep(hold_s)
    greedy, modest = meter.members
    return greedy, modest


def test_the_peak_is_that_of_the_member_alone() -> None:
    greedy, modest = measured()
    assert (greedy.member, modest.member) == ("greedy", "modest")
    assert greedy.peak_bytes - modest.peak_bytes > 0.9 * LARGE
    assert greedy.seconds > 0


def test_it_is_sampled_where_the_kernel_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> None:
        raise PermissionError

    monkeypatch.setattr(inference.memory_use, "reset_peak", refused)
    greedy, modest = measured(hold_s=0.2)
    assert greedy.peak_bytes - modest.peak_bytes > 0.9 * LARGE
    assert modest.peak_bytes > 0


def test_a_member_that_fails_is_not_counted() -> None:
    meter = MemoryMeter(torch.device("cpu"))
    with pytest.raises(ValueError, match="broken"), meter.measure("broken"):
        raise ValueError("broken")
    assert meter.members == []
