"""What computes on this machine, as every result states it."""

from __future__ import annotations

import platform
from pathlib import Path

import torch

from inference.study_result import Runtime
from inference.version import SOFTWARE_VERSION
from models.precision import Precision

_CPUINFO = Path("/proc/cpuinfo")
_NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")


def describe_runtime(device: str, precision: Precision) -> Runtime:
    """Software, torch, device and its own name, CUDA and driver (both "" where no GPU computes)."""
    on_gpu = torch.device(device).type == "cuda"
    return Runtime(
        software_version=SOFTWARE_VERSION,
        torch_version=torch.__version__,
        device=device,
        precision=precision,
        device_name=torch.cuda.get_device_name(device) if on_gpu else _processor(),
        cuda_version=(torch.version.cuda or "") if on_gpu else "",
        driver_version=_driver() if on_gpu else "",
    )


def _processor() -> str:
    if _CPUINFO.is_file():
        for line in _CPUINFO.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _driver() -> str:
    """Version of the kernel's NVIDIA driver, as its own file states it."""
    if not _NVIDIA_DRIVER.is_file():
        return ""
    words = _NVIDIA_DRIVER.read_text(encoding="utf-8").splitlines()[0].split()
    return next((word for word in words if word.count(".") >= 1 and word[0].isdigit()), "")
