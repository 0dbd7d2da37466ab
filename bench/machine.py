"""The machine that a figure belongs to, and the fastest matrix product that it is seen to do."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from bench.stopwatch import time_work
from inference.runtime import describe_runtime
from models.dense import dense
from models.precision import Precision

_ALLOCATOR_VARIABLES = ("OMP_WAIT_POLICY", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")


@dataclass(frozen=True)
class Machine:
    """Processor or card, software, and what of the environment changes speed."""

    device: str
    device_name: str
    cores: int
    threads: int
    torch_version: str
    cuda_version: str
    driver_version: str
    environment: dict[str, str]

    def __str__(self) -> str:
        where = f"{self.device_name}, {self.cores} cores, {self.threads} threads, torch {self.torch_version}"
        return f"{where}, CUDA {self.cuda_version}" if self.cuda_version else where


def describe_machine(device: str = "cpu") -> Machine:
    """This machine as a measurement names it."""
    runtime = describe_runtime(device, "float32")
    return Machine(
        device=device,
        device_name=runtime.device_name,
        cores=os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        torch_version=runtime.torch_version,
        cuda_version=runtime.cuda_version,
        driver_version=runtime.driver_version,
        environment={name: os.environ[name] for name in _ALLOCATOR_VARIABLES if name in os.environ},
    )


def product_type(precision: Precision, device: torch.device) -> torch.dtype:
    """The type in which matrix products are computed; fp16 on a CPU is rounding around float32 products."""
    if precision == "bf16":
        return torch.bfloat16
    return torch.float16 if precision == "fp16" and device.type == "cuda" else torch.float32


@dataclass(frozen=True)
class Products:
    """Which matrix products are timed: their square matrices' side, and for how long."""

    side: int = 4096
    seconds: float = 3.0


def matmul_peak(dtype: torch.dtype, device: torch.device, products: Products) -> float:
    """FLOP/s of the fastest of the matrix products; TF32 stays off.

    Two ways to multiply are timed, that of torch and that of the networks: on AMD's processors the first is
    far from the fastest in float32 (see :func:`models.dense.dense`), and a network would exceed its peak.
    """
    side = products.side
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    out = torch.empty_like(left)
    ways: tuple[Callable[[], object], ...] = (
        lambda: torch.mm(left, right, out=out),
        lambda: dense(left, right),
    )
    best = float("inf")
    end = time.perf_counter() + products.seconds
    with torch.inference_mode():
        while time.perf_counter() < end or best == float("inf"):
            for way in ways:
                best = min(best, *time_work(way, device, repeats=3).counted_s)
    return 2 * side**3 / best
