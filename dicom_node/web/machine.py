"""What the machine has left: disk, memory, load, and the memory of a graphics card."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Share:
    """Bytes in use of all there are."""

    used: int
    total: int

    @property
    def free_percent(self) -> float:
        """What is left, in percent."""
        return 100.0 * (self.total - self.used) / self.total if self.total else 0.0


@dataclass(frozen=True)
class Machine:
    """`card` is the memory of the graphics card, None where none computes; `load` of the last minute."""

    disk: Share
    memory: Share | None
    card: Share | None
    cores: int
    load: float


def look_at_machine(data_folder: Path, device: str) -> Machine:
    """The machine at this moment; `device` as torch names it."""
    disk = shutil.disk_usage(data_folder)
    return Machine(
        # As `df` counts: what only root may still write is not free.
        disk=Share(disk.total - disk.free, disk.total),
        memory=_memory(),
        card=_card(device),
        cores=os.cpu_count() or 1,
        load=os.getloadavg()[0],
    )


def _memory(file: Path = Path("/proc/meminfo")) -> Share | None:
    """Of Linux; None on other systems."""
    if not file.exists():
        return None
    lines = (line.partition(":") for line in file.read_text(encoding="ascii").splitlines())
    kib = {name: int(value.split()[0]) for name, _, value in lines}
    return Share(1024 * (kib["MemTotal"] - kib["MemAvailable"]), 1024 * kib["MemTotal"])


def _card(device: str) -> Share | None:
    torch = sys.modules.get("torch")  # loaded with the networks; a page does not wait for it
    if torch is None or not device.startswith("cuda"):
        return None
    free, total = torch.cuda.mem_get_info(device)
    return Share(total - free, total)
