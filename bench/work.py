"""What a full-size study asks of a machine, and what the machine's matrix products give at best."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from bench.flops import image_pass_flops, stage_work, unet_flops
from bench.full_size_bundle import full_size_manifest
from bench.machine import Machine, Products, describe_machine, matmul_peak
from bench.tables import markdown_table
from inference.columns import DIFFUSION

_TYPES = {"float32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class MachineFigures:
    """Best FLOP/s of matrix products by precision, and TFLOP by network of the published sizes."""

    machine: Machine
    matmul_flop_per_s: dict[str, float]
    tflop: dict[str, float]

    def table(self) -> str:
        """The operations, and the seconds that they would take at the peak, in Markdown."""
        rows = [
            (network, f"{tflop:.3f}", *(f"{tflop * 1e12 / peak:.2f}" for peak in self._peaks))
            for network, tflop in self.tflop.items()
        ]
        columns = (f"s at {peak / 1e9:.0f} GFLOP/s ({name})" for name, peak in self.matmul_flop_per_s.items())
        return markdown_table(("published sizes", "TFLOP", *columns), rows)

    @property
    def _peaks(self) -> tuple[float, ...]:
        return tuple(self.matmul_flop_per_s.values())


def measure_machine() -> MachineFigures:
    """Measure this processor and count the operations of the published networks."""
    return MachineFigures(
        machine=describe_machine(),
        matmul_flop_per_s={
            name: matmul_peak(dtype, torch.device("cpu"), Products()) for name, dtype in _TYPES.items()
        },
        tflop={network: flop / 1e12 for network, flop in published_work().items()},
    )


def published_work() -> dict[str, int]:
    """Operations of each network of the published sizes in a study."""
    manifest = full_size_manifest()
    work = {
        "image pass": image_pass_flops(manifest.towers["main"], manifest.input.shape),
        "slice classifier over 216 slices": stage_work(manifest)[DIFFUSION].slice_classifier,
    }
    diffusion = manifest.members.diffusion
    if diffusion is not None:
        work["UNet, one slice"] = unet_flops(diffusion)
    return work
